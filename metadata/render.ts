/**
 * A value as text and as JSON, byte for byte as Rancher's metadata service writes them (rancher.md 1.6). Of large
 * values chunks.ts makes the same JSON piece by piece.
 */
import { byBytes, entryOf, isBranch, isDict, isList, Nil, sortedKeys, type Value } from './value.ts'

/** Go's url.QueryEscape. */
export function queryEscape(text: string): string {
  return encodeURIComponent(text.toWellFormed())
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+')
}

/** Go's %f without trailing zeros for fractions, all digits for whole numbers. */
function numberText(value: number): string {
  if (!Number.isFinite(value)) return 'null'
  if (Number.isInteger(value)) return BigInt(value).toString()
  return value.toFixed(6).replace(/\.?0+$/, '')
}

/** The text form: a scalar as it is, a map or list as one line per key or index. */
export function textOf(value: Value): string {
  if (value === null || value instanceof Nil) return ''
  if (typeof value === 'number') return numberText(value)
  if (typeof value !== 'object') return String(value)
  if (isList(value)) return value.map((item, at) => `${at}${elementText(item)}\n`).join('')
  return Object.entries(value)
    .map(([key, item]) => `${queryEscape(key)}${isBranch(item) ? '/' : ''}\n`)
    .sort(byBytes)
    .join('')
}

function elementText(item: Value): string {
  const name = isDict(item) ? (entryOf(item, 'name') ?? entryOf(item, 'uuid')) : undefined
  if (typeof name === 'string') return `=${queryEscape(name)}`
  return isBranch(item) ? '/' : ''
}

/** What a long poll compares with `value=`: Go's fmt.Sprint of a scalar; undefined for a subtree. */
export function scalarText(value: Value): string | undefined {
  if (value === null) return '<nil>'
  return typeof value === 'object' ? undefined : textOf(value)
}

const special = /["\\\x00-\x1f<>&\u2028\u2029]/
const specials = new RegExp(special, 'g')
const short: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
}

/** A JSON string as Go's encoding/json escapes it. */
export function jsonString(text: string): string {
  const clean = text.toWellFormed()
  if (!special.test(clean)) return `"${clean}"`
  const escaped = (char: string): string =>
    short[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  return `"${clean.replace(specials, escaped)}"`
}

/** Go's json.Marshal: sorted keys, no spaces. */
export function jsonOf(value: Value): string {
  if (value === null || value instanceof Nil) return 'null'
  if (typeof value === 'string') return jsonString(value)
  if (typeof value === 'number') return Number.isFinite(value) ? JSON.stringify(value) : 'null'
  if (typeof value === 'boolean') return String(value)
  if (isList(value)) return `[${value.map((item) => jsonOf(item)).join(',')}]`
  return `{${sortedKeys(value)
    .map((key) => `${jsonString(key)}:${jsonOf(value[key] ?? null)}`)
    .join(',')}}`
}
