/** Types of tap-output.mjs, for tests. */
export interface FileResult {
  ok: boolean
  name: string
  took: string
  skipped: string | undefined
  lines: string[]
}
export interface Counts {
  passed: number
  failed: number
  skipped: number
}
export class TapOutput {
  counts: Counts | undefined
  read(line: string): FileResult | undefined
  end(): FileResult | undefined
}
export function failures(lines: string[]): string[]
