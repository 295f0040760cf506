/**
 * Documentation under test: every config key, error and metric is on its page and nothing else is. Run with
 * DROVER_WRITE_DOCS=1 to write the tables instead of comparing them.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { configKeys } from '../daemon/config/schema.ts'
import { metricTable } from '../daemon/metric-table.ts'
import { errorTable } from '../model/error-table.ts'
import { parts } from '../status/finding.ts'

const docs = join(import.meta.dirname, '../docs')

const cell = (value: unknown): string => String(value).replace(/\|/g, '\\|')
const row = (...cells: readonly unknown[]): string => `| ${cells.map(cell).join(' | ')} |`

/** The page's only table must be exactly these rows. */
function tableIs(t: Test, page: string, head: readonly string[], rows: readonly string[]): void {
  const file = join(docs, page)
  const text = readFileSync(file, 'utf8')
  const wanted = [row(...head), row(...head.map(() => '---')), ...rows]
  if (process.env.DROVER_WRITE_DOCS === '1') {
    const prose = text.split('\n').filter((line) => !line.startsWith('|'))
    writeFileSync(file, `${prose.join('\n').trimEnd()}\n\n${wanted.join('\n')}\n`)
    t.pass(`${page} written`)
    return
  }
  t.strictSame(
    text.split('\n').filter((line) => line.startsWith('|')),
    wanted,
    `${page}: DROVER_WRITE_DOCS=1 node test/docs.test.ts writes it`,
  )
}

test('docs/configuration.md', (t) => {
  const fallback = (value: unknown): string =>
    value === undefined || (Array.isArray(value) && value.length === 0) ? '' : `\`${value}\``
  const rows = configKeys.map((one) =>
    row(`\`${one.key}\``, `\`${one.variable}\``, fallback(one.fallback), one.doc),
  )
  tableIs(t, 'configuration.md', ['key', 'variable', 'default', 'meaning'], rows)
  t.notOk(
    configKeys.some(({ doc }) => doc === ''),
    'every key has its line',
  )
  t.end()
})

test('docs/errors.md', (t) => {
  const rows = Object.entries(errorTable).map(([code, one]) =>
    row(`\`${code}\``, one.culprit, one.says, one.remedy),
  )
  tableIs(t, 'errors.md', ['code', 'culprit', 'says', 'what to do'], rows)
  t.end()
})

test('docs/cli.md names every part that doctor finds things in', (t) => {
  const section =
    readFileSync(join(docs, 'cli.md'), 'utf8').split('## `drover doctor')[1]?.split('\n## ')[0] ?? ''
  const listed = section.split('`where`:')[1]?.split(';')[0] ?? ''
  t.strictSame(
    [...listed.matchAll(/`([a-z]+)`/g)].map((match) => match[1]),
    [...parts],
  )
  t.end()
})

test('docs/metrics.md', (t) => {
  const rows = Object.entries(metricTable).map(([name, one]) =>
    row(`\`${name}\``, one.kind, one.labels.join(', '), one.help),
  )
  tableIs(t, 'metrics.md', ['metric', 'kind', 'labels', 'meaning'], rows)
  t.end()
})

test('every metric that is recorded is in the table, and every one in the table is recorded', (t) => {
  const root = join(import.meta.dirname, '..')
  const folders = [
    'store',
    'linux',
    'docker',
    'pki',
    'ipam',
    'network',
    'tunnel',
    'dns',
    'metadata',
    'status',
    'daemon',
  ]
  const sources = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && name !== 'metric-table.ts')
      .map((name) => readFileSync(join(root, folder, name), 'utf8')),
  )
  const recorded = sources.flatMap((text) =>
    [...text.matchAll(/\.(?:count|gauge|observe)\(\s*'(drover_[a-z_]+)'/g)].map((match) => match[1] ?? ''),
  )
  t.strictSame([...new Set(recorded)].sort(), Object.keys(metricTable).sort())
  t.end()
})
