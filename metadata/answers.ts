/**
 * Answers out of one source: looks values up, renders them, and keeps what is finished. Whole answers are kept by
 * the path that asked for them for as long as the source stands still, bodies by the identity of what they show, so
 * that they outlive a change elsewhere. Keeping never changes an answer.
 */
import type { Format } from './accept.ts'
import {
  type Answer,
  type Asked,
  type Body,
  bodyOf,
  isEtag,
  isRead,
  type Question,
  type Request,
} from './answer.ts'
import type { Chunks } from './chunks.ts'
import { digestOf } from './digest.ts'
import type { Client } from './forwarded.ts'
import { openApi } from './openapi.ts'
import { valueAt } from './path.ts'
import type { Choice } from './prometheus.ts'
import { jsonOf, scalarText, textOf } from './render.ts'
import { mediaTypes } from './routes.ts'
import type { Value } from './value.ts'
import { yamlOf } from './yaml.ts'

/** Where answers come from: a tree, or recorded answers in tests. */
export interface Source {
  /** Names of the versions; none before the first snapshot. */
  readonly versions: readonly string[]
  /** Becomes another number whenever any answer may have become another one. */
  readonly generation: number
  /** The root of a version as a client sees it. */
  root(version: string, client: Client): Value | undefined
  /** Whether clients may see different things at a path below a version. */
  isPersonal(segments: readonly string[]): boolean
  /** Why this client has no `self`, if there is something to say about it. */
  reason?(client: Client): string | undefined
  /** Targets for Prometheus; undefined before the first snapshot. */
  targets?(client: Client, choice: Choice): Value | undefined
}

/** An answer, and what a long poll has to know of it. */
interface Finding {
  readonly answer: Answer
  /** What `value=` is compared with; undefined for a subtree, whose ETag is. */
  readonly scalar: string | undefined
  /** Whether there is something to see, or may be one day. */
  readonly state: 'there' | 'missing' | 'impossible'
}

type ByPath = Readonly<Record<Format, Map<string, Finding>>>

const mostKept = 10_000
/** Longer paths are asked by nobody twice. */
const longestKept = 256
/** Bodies from here on are bytes and not text: they are sent without being copied. */
const large = 1024
/** Bytes of large bodies that are kept of one state of the source; what is beyond is made again when it is asked for. */
const mostBytes = 32 * 1024 * 1024

const byPath = (): ByPath => ({ text: new Map(), json: new Map(), yaml: new Map() })

export class Answers {
  readonly #source: Source
  readonly #chunks: Chunks
  readonly #digests = new WeakMap<Buffer, string>()
  readonly #bodies: Record<Format, WeakMap<object, Body>> = {
    text: new WeakMap(),
    json: new WeakMap(),
    yaml: new WeakMap(),
  }
  #generation = Number.NaN
  #common = byPath()
  #personal = new Map<string, ByPath>()
  #kept = 0
  #bytes = 0

  constructor({ source, chunks }: { readonly source: Source; readonly chunks: Chunks }) {
    this.#source = source
    this.#chunks = chunks
  }

  /** The answer to a request that was answered before, without reading it again; undefined where there is none. */
  known({ method, target, client }: Request, format: Format): Answer | undefined {
    if (!isRead(method)) return undefined
    this.#refresh()
    const common = this.#common[format].get(target)
    return (common ?? this.#personal.get(keyOf(client))?.[format].get(target))?.answer
  }

  answer(asked: Asked): Answer {
    if (asked.is === 'answer') return asked.answer
    if (asked.is === 'versions') return this.#success(versionsOf(this.#source), asked.format)
    if (asked.is === 'schema') return schemaAnswer()
    if (asked.is === 'targets') {
      const targets = this.#source.targets?.(asked.client, asked.choice)
      // Not an empty list: Prometheus would forget what it has.
      return targets === undefined
        ? nothing('Not found', 'json', 'missing').answer
        : this.#success(targets, 'json')
    }
    return this.#finding(asked).answer
  }

  /** Whether a long poll has to go on: nothing is there yet, or it is what the client has. */
  isUnchanged(asked: Asked): boolean {
    if (asked.is !== 'value' || asked.wait === undefined) return false
    const { value } = asked.wait
    const { state, scalar, answer } = this.#finding(asked)
    if (state !== 'there') return state === 'missing'
    if (scalar !== undefined) return scalar === value
    return isEtag(value, answer.body.etag)
  }

  #refresh(): void {
    if (this.#generation === this.#source.generation) return
    this.#generation = this.#source.generation
    this.#forget()
  }

  #forget(): void {
    this.#common = byPath()
    this.#personal = new Map()
    this.#kept = 0
    this.#bytes = 0
  }

  #finding(question: Question): Finding {
    this.#refresh()
    const { path, format, client, segments } = question
    const known = this.#common[format].get(path) ?? this.#personal.get(keyOf(client))?.[format].get(path)
    if (known !== undefined) return known
    const finding = this.#find(question)
    if (finding.state !== 'there' || path.length > longestKept || !this.#mayKeep(finding.answer.body)) {
      return finding
    }
    if (this.#kept >= mostKept) this.#forget()
    this.#kept += 1
    const place = this.#source.isPersonal(segments) ? this.#placeOf(client) : this.#common
    place[format].set(path, finding)
    return finding
  }

  #mayKeep({ length }: Body): boolean {
    return length <= large || this.#bytes <= mostBytes
  }

  #placeOf(client: Client): ByPath {
    const key = keyOf(client)
    const place = this.#personal.get(key) ?? byPath()
    this.#personal.set(key, place)
    return place
  }

  #find({ version, segments, client, format }: Question): Finding {
    const { versions } = this.#source
    const newest = version === 'latest' && !versions.includes(version)
    const name = newest ? versions.toSorted().at(-1) : version
    if (name !== undefined && !versions.includes(name))
      return nothing('Invalid version', format, 'impossible')
    const root = name === undefined ? undefined : this.#source.root(name, client)
    const value = root === undefined ? undefined : valueAt(root, segments)
    if (value !== undefined)
      return { answer: this.#success(value, format), scalar: scalarText(value), state: 'there' }
    const reason = segments[0]?.toLowerCase() === 'self' ? this.#source.reason?.(client) : undefined
    return nothing(reason === undefined ? 'Not found' : `Not found: ${reason}`, format, 'missing')
  }

  #success(value: Value, format: Format): Answer {
    const body = this.#body(value, format)
    return {
      status: 200,
      body,
      type: body.length === 0 ? undefined : mediaTypes[format],
      shared: true,
    }
  }

  #body(value: Value, format: Format): Body {
    if (typeof value !== 'object' || value === null) return bodyOf(render(value, format))
    const kept = this.#bodies[format].get(value)
    if (kept !== undefined) return kept
    const body = format === 'json' ? this.#rowOf(this.#chunks.of(value)) : textBody(render(value, format))
    if (body.length > large) this.#bytes += body.length
    if (this.#mayKeep(body)) this.#bodies[format].set(value, body)
    return body
  }

  /** Chunks are shared between bodies: each is digested once. */
  #rowOf(chunks: readonly Buffer[]): Body {
    const [only] = chunks
    if (only !== undefined && chunks.length === 1 && only.length <= large) return bodyOf(only.toString())
    const digests = chunks.map((chunk) => {
      const digest = this.#digests.get(chunk) ?? digestOf(chunk)
      this.#digests.set(chunk, digest)
      return digest
    })
    const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    return { content: chunks, length, etag: `"${digestOf(digests.join('\n'))}"` }
  }
}

function textBody(text: string): Body {
  const body = bodyOf(text)
  return text.length > large ? { ...body, content: [Buffer.from(text)] } : body
}

let schema: Answer | undefined

/** Made when somebody asks for the first time. */
function schemaAnswer(): Answer {
  schema ??= { status: 200, body: bodyOf(JSON.stringify(openApi())), type: mediaTypes.json, shared: true }
  return schema
}

const keyOf = ({ address, forwarded }: Client): string => (forwarded ? `${address} forwarded` : address)

function render(value: Value, format: Format): string {
  if (format === 'text') return textOf(value)
  return format === 'json' ? jsonOf(value) : yamlOf(value)
}

function versionsOf({ versions }: Source): Value {
  const names = [...new Set([...versions, 'latest'])].sort()
  return Object.fromEntries(names.map((name) => [name, `/${name}`]))
}

function nothing(message: string, format: Format, state: 'missing' | 'impossible'): Finding {
  const text = format === 'text' ? message : render({ code: 404, message, type: 'error' }, format)
  const answer: Answer = { status: 404, body: bodyOf(`${text}\n`), type: mediaTypes[format], shared: true }
  return { answer, scalar: undefined, state }
}
