/**
 * From a request to an answer, without a socket: routes, methods, errors and bodies as rancher.md 1.2 to 1.8 have
 * them. A request is read once and may be looked up many times, as a long poll does.
 */
import { type Millis, seconds } from '../model/time.ts'
import { type Format, formatOf } from './accept.ts'
import { digestOf } from './digest.ts'
import { targetOf, valueAt } from './path.ts'
import { jsonOf, type PieceTexts, scalarText, textOf } from './render.ts'
import type { Value } from './value.ts'
import { yamlOf } from './yaml.ts'

/** Where answers come from: a tree, or recorded answers in tests. */
export interface Source {
  /** Names of the versions; none before the first snapshot. */
  readonly versions: readonly string[]
  /** The root of a version as the client at an address sees it. */
  root(version: string, client: string): Value | undefined
  /** Why this client has no `self`, if there is something to say about it. */
  reason?(client: string): string | undefined
}

export interface Request {
  readonly method: string
  /** The request target as it came over the wire. */
  readonly target: string
  readonly accept: string | undefined
  readonly client: string
}

export interface Body {
  /** As bytes when it is large and shared, as text when it is small. */
  readonly content: string | Buffer
  readonly etag: string
}

export interface Answer {
  readonly status: 200 | 301 | 400 | 404
  readonly body: Body
  /** Undefined for an empty body. */
  readonly type: string | undefined
  readonly location?: string
  /** Whether browsers of every origin may read it. */
  readonly shared: boolean
}

export interface Wait {
  readonly value: string
  readonly atMost: Millis
}

export type Asked =
  | { readonly is: 'answer'; readonly answer: Answer }
  | { readonly is: 'versions'; readonly format: Format }
  | {
      readonly is: 'value'
      readonly version: string
      readonly segments: readonly string[]
      readonly format: Format
      readonly client: string
      readonly wait: Wait | undefined
    }

const types: Readonly<Record<Format, string>> = {
  text: 'text/plain; charset=utf-8',
  json: 'application/json',
  yaml: 'application/yaml',
}

/** Body of what the router of the original refused, and of requests that are no HTTP. */
export const plain = (status: 400 | 404, text: string): Answer => ({
  status,
  body: bodyOf(text),
  type: types.text,
  shared: false,
})

const pageNotFound = plain(404, '404 page not found\n')
const badRequest = plain(400, '400 Bad Request')

/** Go's strconv.Atoi with errors as 0; what is missing or 0 means a minute, two minutes are the most. */
function atMostOf(text: string | null): Millis {
  const asked = /^[+-]?\d+$/.test(text ?? '') ? Number(text) : 0
  return seconds(Math.min(asked === 0 ? 60 : Math.max(asked, 0), 120))
}

export function askedBy({ method, target, accept, client }: Request): Asked {
  const read = targetOf(target)
  if (read.is === 'bad') return { is: 'answer', answer: badRequest }
  if (read.is === 'moved') return { is: 'answer', answer: movedTo(read.location) }
  const [version, ...segments] = read.segments
  const known = method === 'GET' || method === 'HEAD'
  if (!known || (version === 'favicon.ico' && !read.deep)) return { is: 'answer', answer: pageNotFound }
  const format = formatOf(accept)
  if (version === undefined) return { is: 'versions', format }
  return { is: 'value', version, segments, format, client, wait: read.deep ? waitOf(read.query) : undefined }
}

function waitOf(query: URLSearchParams | undefined): Wait | undefined {
  const value = query?.get('value') ?? null
  if (query?.get('wait') !== 'true' || value === null) return undefined
  return { value, atMost: atMostOf(query.get('maxWait')) }
}

const movedTo = (location: string): Answer => ({
  status: 301,
  body: bodyOf(''),
  type: undefined,
  location,
  shared: false,
})

export function bodyOf(content: string | Buffer): Body {
  return { content, etag: `"${digestOf(content)}"` }
}

type Found =
  | { readonly is: 'value'; readonly value: Value }
  | { readonly is: 'nothing'; readonly why: string; readonly mayCome: boolean }

/** Looks requests up in one source and keeps the finished bodies of what many may ask for. */
export class Answers {
  readonly #source: Source
  readonly #texts: PieceTexts
  readonly #bodies: Record<Format, WeakMap<object, Body>> = {
    text: new WeakMap(),
    json: new WeakMap(),
    yaml: new WeakMap(),
  }

  constructor({ source, texts }: { readonly source: Source; readonly texts: PieceTexts }) {
    this.#source = source
    this.#texts = texts
  }

  answer(asked: Asked): Answer {
    if (asked.is === 'answer') return asked.answer
    if (asked.is === 'versions') return this.#success(versionsOf(this.#source), asked.format)
    const found = this.#find(asked)
    return found.is === 'value' ? this.#success(found.value, asked.format) : failure(found.why, asked.format)
  }

  /** Whether a long poll has to go on: nothing is there yet, or it is what the client has. */
  isUnchanged(asked: Asked): boolean {
    if (asked.is !== 'value' || asked.wait === undefined) return false
    const found = this.#find(asked)
    if (found.is === 'nothing') return found.mayCome
    const scalar = scalarText(found.value)
    if (scalar !== undefined) return scalar === asked.wait.value
    const { etag } = this.#body(found.value, asked.format)
    return etag === asked.wait.value || etag === `"${asked.wait.value}"`
  }

  #find({ version, segments, client }: Asked & { readonly is: 'value' }): Found {
    const { versions } = this.#source
    const newest = version === 'latest' && !versions.includes(version)
    const name = newest ? versions.toSorted().at(-1) : version
    if (name !== undefined && !versions.includes(name)) return nothing('Invalid version', false)
    const root = name === undefined ? undefined : this.#source.root(name, client)
    const value = root === undefined ? undefined : valueAt(root, segments)
    if (value !== undefined) return { is: 'value', value }
    const reason = segments[0]?.toLowerCase() === 'self' ? this.#source.reason?.(client) : undefined
    return nothing(reason === undefined ? 'Not found' : `Not found: ${reason}`, true)
  }

  #success(value: Value, format: Format): Answer {
    const body = this.#body(value, format)
    return { status: 200, body, type: body.content.length === 0 ? undefined : types[format], shared: true }
  }

  #body(value: Value, format: Format): Body {
    if (typeof value !== 'object' || value === null) return bodyOf(render(value, format, this.#texts))
    const kept = this.#bodies[format].get(value)
    if (kept !== undefined) return kept
    const text = render(value, format, this.#texts)
    const body = bodyOf(text.length > 1024 ? Buffer.from(text) : text)
    this.#bodies[format].set(value, body)
    return body
  }
}

const nothing = (why: string, mayCome: boolean): Found => ({ is: 'nothing', why, mayCome })

function render(value: Value, format: Format, texts: PieceTexts): string {
  if (format === 'text') return textOf(value)
  return format === 'json' ? jsonOf(value, texts) : yamlOf(value)
}

function versionsOf({ versions }: Source): Value {
  const names = [...new Set([...versions, 'latest'])].sort()
  return Object.fromEntries(names.map((name) => [name, `/${name}`]))
}

function failure(message: string, format: Format): Answer {
  const text =
    format === 'text' ? message : render({ code: 404, message, type: 'error' }, format, new WeakMap())
  return { status: 404, body: bodyOf(`${text}\n`), type: types[format], shared: true }
}
