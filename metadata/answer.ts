/**
 * From a request to an answer, without a socket: routes, methods, errors and bodies as rancher.md 1.2 to 1.8 have
 * them. A request is read once and may be looked up many times, as a long poll does.
 */
import { type Millis, seconds } from '../model/time.ts'
import { type Format, formatOf } from './accept.ts'
import { digestOf } from './digest.ts'
import type { Client } from './forwarded.ts'
import { targetOf } from './path.ts'
import type { Choice } from './prometheus.ts'
import { mediaTypes, methods, routeOf, type Status } from './routes.ts'

export interface Request {
  readonly method: string
  /** The request target as it came over the wire. */
  readonly target: string
  readonly accept: string | undefined
  readonly client: Client
}

export interface Body {
  /** As a row of bytes when it is large and shared, as text when it is small. */
  readonly content: string | readonly Buffer[]
  /** Bytes. */
  readonly length: number
  readonly etag: string
}

export interface Answer {
  readonly status: Exclude<Status, 304>
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

/** A value that is asked for. */
export interface Question {
  readonly is: 'value'
  readonly version: string
  readonly segments: readonly string[]
  /** The path as it was written, without its query. */
  readonly path: string
  readonly format: Format
  readonly client: Client
  readonly wait: Wait | undefined
}

export type Asked =
  | { readonly is: 'answer'; readonly answer: Answer }
  | { readonly is: 'versions'; readonly format: Format }
  /** The published schema. */
  | { readonly is: 'schema' }
  | { readonly is: 'targets'; readonly choice: Choice; readonly client: Client }
  | Question

/** A small body. */
export const bodyOf = (content: string): Body => ({
  content,
  length: Buffer.byteLength(content),
  etag: `"${digestOf(content)}"`,
})

/** Body of what the router of the original refused, and of requests that are no HTTP. */
export const plain = (status: 400 | 404 | 417 | 429, text: string): Answer => ({
  status,
  body: bodyOf(text),
  type: mediaTypes.text,
  shared: false,
})

const pageNotFound = plain(404, '404 page not found\n')
const badRequest = plain(400, '400 Bad Request')

/** Go's strconv.Atoi with errors as 0; what is missing or 0 means a minute, two minutes are the most. */
function atMostOf(text: string | null): Millis {
  const asked = /^[+-]?\d+$/.test(text ?? '') ? Number(text) : 0
  return seconds(Math.min(asked === 0 ? 60 : Math.max(asked, 0), 120))
}

const reading: ReadonlySet<string> = new Set(methods)

export const isRead = (method: string): boolean => reading.has(method)

export function askedBy({ method, target, accept, client }: Request): Asked {
  const read = targetOf(target)
  if (read.is === 'bad') return { is: 'answer', answer: badRequest }
  if (read.is === 'moved') return { is: 'answer', answer: movedTo(read.location) }
  const { segments, path, deep, query } = read
  const route = routeOf(segments, deep)
  if (!isRead(method) || route === 'nothing') return { is: 'answer', answer: pageNotFound }
  if (route === 'schema') return { is: 'schema' }
  if (route === 'targets') return { is: 'targets', choice: segments[2] === 'all' ? 'all' : 'marked', client }
  const format = formatOf(accept)
  const [version, ...rest] = segments
  if (version === undefined || route === 'versions') return { is: 'versions', format }
  const wait = route === 'value' ? waitOf(query) : undefined
  return { is: 'value', version, segments: rest, path, format, client, wait }
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

/** All of a body as text. */
export const textOfBody = ({ content }: Body): string =>
  typeof content === 'string' ? content : Buffer.concat(content).toString()

/** Whether a client has what an ETag stands for; it may give it without quotes, or that of the compressed form. */
export const isEtag = (value: string, etag: string): boolean =>
  value.replace(/^"|"$/g, '').replace(/-gzip$/, '') === etag.slice(1, -1)
