/**
 * The house as docs/architecture.md describes it, held against the code: arrows, cycles, edges, homes of
 * libraries, ceilings. The tables of that page are the only source; this file holds no list of its own.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { test } from 'tap'

const root = join(import.meta.dirname, '..')
const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8')

interface Import {
  readonly from: string
  readonly to: string
  readonly kind: 'value' | 'type' | 'dynamic'
}

/** The rows of the table under a heading, cells stripped of backquotes. */
function rowsUnder(heading: string): string[][] {
  const section = page.split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  const lines = section.split('\n').filter((line) => line.startsWith('| '))
  return lines.slice(2).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

const names = (cell = ''): string[] => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '')

const folders = new Map(
  rowsUnder('Folders and arrows').map(([folder, , arrows]) => [
    names(folder)[0]?.replace('/', '') ?? '',
    names(arrows),
  ]),
)
const edges = new Set(rowsUnder('Edges').flatMap(([edge]) => names(edge)))
const homes = new Map(rowsUnder('Libraries').map(([library, home]) => [names(library)[0] ?? '', names(home)]))
const roots = new Set(names(page.match(/Composition roots[^\n]*/)?.[0]).slice(1))
const outside = new Set(['lab', 'bench', 'test', 'setup'])

const sources = [...folders.keys()].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.includes('node_modules') && !name.startsWith('run/'))
    .map((name) => `${folder}/${name}`),
)
const textOf = new Map(sources.map((file) => [file, readFileSync(join(root, file), 'utf8')]))
const folderOf = (file: string): string => file.split('/')[0] ?? ''

function importsOf(file: string): Import[] {
  const text = textOf.get(file) ?? ''
  const found: Import[] = []
  for (const match of text.matchAll(/^(?:import|export)\s(?:(type)\s)?(?:[^'";]*?\sfrom\s)?'([^']+)'/gm)) {
    found.push({ from: file, to: match[2] ?? '', kind: match[1] === 'type' ? 'type' : 'value' })
  }
  for (const match of text.matchAll(/\bimport\('([^']+)'\)/g))
    found.push({ from: file, to: match[1] ?? '', kind: 'dynamic' })
  return found.map((one) =>
    one.to.startsWith('.') ? { ...one, to: normalize(join(dirname(file), one.to)) } : one,
  )
}

const imports = sources.flatMap(importsOf)
const ours = imports.filter(({ to }) => textOf.has(to))

function allowed({ from, to, kind }: Import): boolean {
  const [here, there] = [folderOf(from), folderOf(to)]
  const arrows = folders.get(here) ?? []
  if (here === there || arrows.includes('*'))
    return !['lab', 'bench', 'test'].includes(there) || arrows.includes('*')
  if (roots.has(from) && there === 'linux') return true
  if (arrows.includes(there)) return true
  return kind !== 'value' && arrows.includes(`${there}:${kind}`)
}

test('arrows between folders', (t) => {
  const wrong = ours.filter((one) => !allowed(one)).map(({ from, to, kind }) => `${from} -> ${to} (${kind})`)
  t.strictSame(wrong, [], 'only the arrows of docs/architecture.md')
  t.end()
})

test('every import of ours exists', (t) => {
  const lost = imports.filter(({ to }) => folders.has(folderOf(to)) && to.endsWith('.ts') && !textOf.has(to))
  t.strictSame(
    lost.map(({ from, to }) => `${from} -> ${to}`),
    [],
  )
  t.end()
})

test('no cycle of value imports', (t) => {
  const next = new Map<string, string[]>()
  for (const { from, to, kind } of ours) if (kind === 'value') next.set(from, [...(next.get(from) ?? []), to])
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '))
    if (done.has(file) || path.includes(file)) return
    for (const to of next.get(file) ?? []) visit(to, [...path, file])
    done.add(file)
  }
  for (const file of sources) visit(file, [])
  t.strictSame(cycles, [])
  t.end()
})

test('effects only in edges', (t) => {
  const effect =
    /from 'node:|import\('node:|\bprocess\.|\bsetTimeout\(|\bsetInterval\(|\bsetImmediate\(|\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bperformance\.now\(|\bfetch\(/
  const pure = sources.filter((file) => !outside.has(folderOf(file)) && !edges.has(file))
  const strip = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '')
  t.strictSame(
    pure.filter((file) => effect.test(strip(textOf.get(file) ?? ''))),
    [],
    'name it as an edge, or pass the effect in',
  )
  t.strictSame(
    [...edges].filter((edge) => !textOf.has(edge)),
    [],
    'every edge listed exists',
  )
  t.end()
})

test('one home per library', (t) => {
  const wrong = imports
    .filter(
      ({ from, to }) =>
        !outside.has(folderOf(from)) && !to.startsWith('node:') && !textOf.has(to) && !/\.ts$/.test(to),
    )
    .filter(({ from, to }) => {
      const library = to.startsWith('@') ? to.split('/').slice(0, 2).join('/') : (to.split('/')[0] ?? '')
      return !homes.get(library)?.includes(from)
    })
  t.strictSame(
    wrong.map(({ from, to }) => `${from}: ${to}`),
    [],
  )
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: object }
  t.strictSame(
    Object.keys(manifest.dependencies).sort(),
    [...homes.keys()].sort(),
    'every dependency has a home',
  )
  t.end()
})

test('nobody reads lab, bench or test; no barrels', (t) => {
  t.strictSame(
    sources.filter((file) => /\/(index|utils|helpers|common|types)\.ts$/.test(file)),
    [],
  )
  t.end()
})

test('ceilings', (t) => {
  const lines = sources.map((file) => ({ file, count: (textOf.get(file) ?? '').split('\n').length - 1 }))
  t.strictSame(
    lines.filter(({ count }) => count > 400),
    [],
    'no file over 400 lines',
  )
  const sorted = lines
    .filter(({ file }) => !outside.has(folderOf(file)))
    .map(({ count }) => count)
    .sort((a, b) => a - b)
  t.ok((sorted[sorted.length >> 1] ?? 0) <= 110, `median file of ${sorted[sorted.length >> 1]} lines`)
  t.end()
})

test('every source opens with what it is', (t) => {
  t.strictSame(
    sources.filter(
      (file) => !outside.has(folderOf(file)) && !/^(#![^\n]*\n)?\/\*\*?\n/.test(textOf.get(file) ?? ''),
    ),
    [],
  )
  t.ok(relative(root, import.meta.filename).startsWith('test'))
  t.end()
})
