/** Types of packages.mjs, for tests. */
export const testPackages: ReadonlyMap<string, string>
export const extraPackages: ReadonlyMap<string, string>
export const vmPackages: ReadonlyMap<string, string>
export const benchPackages: ReadonlyMap<string, string>
export const dnsBenchPackages: ReadonlyMap<string, string>
export const metadataBenchPackages: ReadonlyMap<string, string>
export const missingPackages: (group?: ReadonlyMap<string, string>) => string[]
export function installPackages(names: string[]): string[]
