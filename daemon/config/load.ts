/**
 * Reads the configuration: defaults, then the YAML file, then `DROVER_…` variables, then flags. Whatever is
 * wrong is refused in one line that names the file, the line, the key and what to write instead.
 */
import { existsSync, readFileSync } from 'node:fs'
import { isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml'
import { DroverError, reasonOf } from '../../model/errors.ts'
import { distance, nearest } from './nearest.ts'
import { type ConfigInput, configKeys, configSchema, nothingSet } from './schema.ts'

/** Where a value came from, for the message when it is wrong. */
interface Origin {
  readonly value: unknown
  readonly where: string
}

export interface ConfigSources {
  readonly file?: string | undefined
  /** Read where `file` is not given and it exists; another environment than `default` has its own beside it. */
  readonly standardFile?: string | undefined
  readonly variables: Readonly<Record<string, string | undefined>>
  /** Dotted key → text. */
  readonly flags: ReadonlyMap<string, string>
}

const keyNames = configKeys.map(({ key }) => key)

export function loadConfig(sources: ConfigSources): ConfigInput {
  const origins = new Map<string, Origin>()
  const { file } = sources
  const standardFile = standardFileOf(sources)
  if (file !== undefined) readFile(file, origins)
  else if (standardFile !== undefined && existsSync(standardFile)) readFile(standardFile, origins)
  for (const { key, variable, flag } of configKeys) {
    const value = sources.variables[variable]
    if (value !== undefined && value !== '') origins.set(key, { value, where: variable })
    const flagged = sources.flags.get(key)
    if (flagged !== undefined) origins.set(key, { value: flagged, where: flag })
  }
  refuseMistyped(sources.variables)
  return checked(origins)
}

/** `drover.yaml`, or `drover-shop.yaml` where flag or variable name the environment `shop`. */
function standardFileOf({ standardFile, flags, variables }: ConfigSources): string | undefined {
  const environment = flags.get('environment') ?? variables.DROVER_ENVIRONMENT ?? ''
  const named = environment !== '' && environment !== 'default' && !environment.includes('/')
  return named ? standardFile?.replace(/(?=\.yaml$)/, `-${environment}`) : standardFile
}

/** Variables of ours that are no keys belong to the tunnel and to tests; one letter off a key is a mistake. */
function refuseMistyped(variables: ConfigSources['variables']): void {
  const known = configKeys.map(({ variable }) => variable)
  for (const name of Object.keys(variables)) {
    if (!name.startsWith('DROVER_') || known.includes(name)) continue
    const meant = nearest(name, known) ?? ''
    if (distance(name, meant) === 1)
      throw new DroverError('CONFIG_INVALID', `unknown variable ${name}, did you mean ${meant}?`)
  }
}

function readFile(file: string, origins: Map<string, Origin>): void {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new DroverError('CONFIG_UNREADABLE', `${file}: ${reasonOf(cause)}`, { cause })
  }
  const counter = new LineCounter()
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false })
  const lineOf = (offset = 0): string => `${file}:${counter.linePos(offset).line}`
  const [error] = document.errors
  if (error !== undefined)
    throw new DroverError('CONFIG_INVALID', `${lineOf(error.pos[0])}: ${error.message}`)
  const root = document.contents
  if (root === null) return
  if (!isMap(root)) throw new DroverError('CONFIG_INVALID', `${file}: must be a map of keys`)
  collect(root, '', (node) => lineOf(node?.range?.[0]), origins)
}

/** Keys and groups at one depth: what a mistyped name was probably meant to be. */
function siblingsOf(prefix: string): string[] {
  const depth = prefix === '' ? 1 : 2
  const below = keyNames.filter((key) => prefix === '' || key.startsWith(`${prefix}.`))
  return [...new Set(below.map((key) => key.split('.').slice(0, depth).join('.')))]
}

function collect(
  node: Node,
  prefix: string,
  lineOf: (node: Node | undefined) => string,
  origins: Map<string, Origin>,
): void {
  if (!isMap(node)) return
  for (const { key, value } of node.items) {
    const name = isScalar(key) ? String(key.value) : '?'
    const dotted = prefix === '' ? name : `${prefix}.${name}`
    const where = lineOf(key as Node)
    const isLeaf = keyNames.includes(dotted)
    if (!isLeaf && !keyNames.some((known) => known.startsWith(`${dotted}.`))) {
      throw new DroverError(
        'CONFIG_INVALID',
        `${where}: unknown key \`${dotted}\`, did you mean \`${nearest(dotted, siblingsOf(prefix))}\`?`,
      )
    }
    if (isLeaf) origins.set(dotted, { value: (value as Node | null)?.toJSON() ?? undefined, where })
    else if (isMap(value)) collect(value, dotted, lineOf, origins)
    else if (value !== null && (value as { value?: unknown }).value !== null) {
      throw new DroverError('CONFIG_INVALID', `${where}: \`${dotted}\` must be a map of keys`)
    }
  }
}

function checked(origins: ReadonlyMap<string, Origin>): ConfigInput {
  const nested: Record<string, unknown> = nothingSet()
  for (const [key, { value }] of origins) {
    const [group = '', leaf] = key.split('.')
    if (leaf === undefined) nested[group] = value
    else (nested[group] as Record<string, unknown>)[leaf] = value
  }
  const result = configSchema.safeParse(nested)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const key = keyNames.find((known) => issue?.path.join('.').startsWith(known)) ?? ''
  const origin = origins.get(key)
  throw new DroverError(
    'CONFIG_INVALID',
    `${origin?.where ?? 'configuration'}: \`${key}\` is ${JSON.stringify(origin?.value)}: ${issue?.message}`,
  )
}
