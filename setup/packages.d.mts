/** Types of packages.mjs, for tests. */
export const testPackages: ReadonlyMap<string, string>
export const missingPackages: () => string[]
export function installPackages(names: string[]): string[]
