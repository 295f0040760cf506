/**
 * Paths of the metadata service, as rancher.md 1.2 and 1.4 have them: what a request target asks for, and which
 * value of a tree that is. Pure; a target is never trusted to be well formed.
 */
import { entryOf, isDict, isList, type List, type Value } from './value.ts'

export type Target =
  /** Not a request target at all: a malformed percent escape, no leading slash. */
  | { readonly is: 'bad' }
  /** `//`, `/./` or `/../`: where the clean path is. */
  | { readonly is: 'moved'; readonly location: string }
  | {
      readonly is: 'path'
      readonly segments: readonly string[]
      /** As it was written, without the query. */
      readonly path: string
      /** A slash follows the first segment, even if nothing follows the slash. */
      readonly deep: boolean
      readonly query: URLSearchParams | undefined
    }

const origin = /^https?:\/\/[^/?#]*/i
const escapes = /%(?![0-9a-fA-F]{2})/

/** Reads a raw request target (origin-form or absolute-form). */
export function targetOf(raw: string): Target {
  const target = raw.replace(origin, '').replace(/#.*$/s, '') || '/'
  const mark = target.indexOf('?')
  const path = mark < 0 ? target : target.slice(0, mark)
  const query = mark < 0 ? '' : target.slice(mark)
  if (!path.startsWith('/') || escapes.test(path)) return { is: 'bad' }
  const clean = cleanPath(path)
  if (clean !== path) return { is: 'moved', location: clean + query }
  const parts = path.replace(/\/+$/, '').slice(1).split('/')
  return {
    is: 'path',
    segments: parts[0] === '' ? [] : parts.map(unescapeSegment),
    path,
    deep: path.indexOf('/', 1) > 0,
    query: query === '' ? undefined : new URLSearchParams(query),
  }
}

/** Removes empty and dot segments; a trailing slash stays. Escaped slashes are part of a key, not separators. */
function cleanPath(path: string): string {
  if (!/\/\/|\/(\.|%2e){1,2}(\/|$)/i.test(path)) return path
  const kept: string[] = []
  for (const part of path.split('/')) {
    const plain = part.replace(/%2e/gi, '.')
    if (plain === '..') kept.pop()
    else if (plain !== '' && plain !== '.') kept.push(part)
  }
  return `/${kept.join('/')}${path.endsWith('/') && kept.length > 0 ? '/' : ''}`
}

/** Go's url.QueryUnescape: `+` is a space. Bytes that are no UTF-8 become U+FFFD and so match nothing. */
function unescapeSegment(segment: string): string {
  const spaced = segment.replaceAll('+', ' ')
  if (!spaced.includes('%')) return spaced
  try {
    return decodeURIComponent(spaced)
  } catch {
    return Buffer.from(
      spaced.replace(/%([0-9a-fA-F]{2})/g, (_, code: string) =>
        String.fromCharCode(Number.parseInt(code, 16)),
      ),
      'latin1',
    ).toString('utf8')
  }
}

type Step = (value: Value, segment: string) => Value | undefined

/**
 * The value at a path: as it is written, else all of it lower-cased, else each segment by itself without regard
 * to case. Undefined where nothing is; descending through null is nothing, too.
 */
export function valueAt(root: Value, segments: readonly string[]): Value | undefined {
  const found = walk(root, segments, exact)
  if (found !== undefined) return found
  const lower = segments.map((segment) => segment.toLowerCase())
  return walk(root, lower, exact) ?? walk(root, segments, folded)
}

function walk(root: Value, segments: readonly string[], step: Step): Value | undefined {
  let value: Value | undefined = root
  for (const segment of segments) {
    if (value === undefined) return undefined
    value = step(value, segment)
  }
  return value
}

function exact(value: Value, segment: string): Value | undefined {
  if (isList(value)) return element(value, segment, (name) => name === segment)
  return isDict(value) ? entryOf(value, segment) : undefined
}

function folded(value: Value, segment: string): Value | undefined {
  const direct = exact(value, segment)
  if (direct !== undefined) return direct
  const lower = segment.toLowerCase()
  const same = (name: Value | undefined): boolean => typeof name === 'string' && name.toLowerCase() === lower
  if (isList(value)) return element(value, segment, same)
  if (!isDict(value)) return undefined
  const key = Object.keys(value).find(same)
  return key === undefined ? undefined : value[key]
}

/** An index where the segment is a number, else the first object whose `name` or `uuid` matches. */
function element(
  list: List,
  segment: string,
  matches: (name: Value | undefined) => boolean,
): Value | undefined {
  if (/^[+-]?\d{1,18}$/.test(segment)) return list[Number(segment)]
  return list.find(
    (item) => isDict(item) && (matches(entryOf(item, 'name')) || matches(entryOf(item, 'uuid'))),
  )
}
