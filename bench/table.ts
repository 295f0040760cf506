/**
 * Figures as a Markdown table, with the machine they come from, on the terminal and in bench/results/.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { root } from '../lab/layout.ts'

/** Of sorted or unsorted values; NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows]
  const widths = head.map((_, at) => Math.max(3, ...all.map((row) => row[at]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}

export function machine(): string {
  const [cpu] = cpus()
  const memory = Math.round(totalmem() / 2 ** 30)
  return `${cpus().length} × ${cpu?.model.trim() ?? 'unknown'}, ${memory} GiB, Linux ${release()}, Node ${process.versions.node}`
}

/** Writes `bench/results/<name>-<date>.md`; its path. */
export function keep(name: string, text: string): string {
  const folder = join(root, 'bench', 'results')
  const file = join(folder, `${name}-${new Date().toISOString().slice(0, 10)}.md`)
  mkdirSync(folder, { recursive: true })
  writeFileSync(file, text)
  return file
}
