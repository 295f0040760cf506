/**
 * The only door to the Docker engine. An edge: it opens sockets and reads certificates. Foreign errors come out
 * as ENGINE_UNAVAILABLE; every call ends within its deadline, the stream of events when it is told or cut.
 */
import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import Modem from 'docker-modem'
import { DroverError, reasonOf } from '../model/errors.ts'
import { type ContainerId, containerIdField } from '../model/records.ts'
import { type Instant, instant } from '../model/time.ts'
import type { Endpoint } from './endpoint.ts'
import {
  containerIdOf,
  type EngineInfo,
  engineInfoOf,
  type Inspection,
  inspectionOf,
  type NetworkFrame,
  networkFrameOf,
} from './inspect.ts'

/** Something happened to a container or a network: a hint to look, never the truth. */
export interface EngineEvent {
  readonly about: 'container' | 'network'
  readonly action: string
  /** The container that was touched; undefined when only a network was. */
  readonly container: ContainerId | undefined
  readonly at: Instant
  /** The engine's own stamp in nanoseconds: tells two events apart, and where to go on. */
  readonly stamp: bigint
}

export interface Engine {
  /** Every container there is, running or not. */
  list(): Promise<readonly Inspection[]>
  /** One container; undefined when there is none. */
  inspect(id: ContainerId): Promise<Inspection | undefined>
  /** The user-defined networks. */
  networks(): Promise<readonly NetworkFrame[]>
  version(): Promise<EngineInfo>
  /** Resolves once the engine sends; events after the stamp `since`, from now without it. */
  events(since: bigint | undefined, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>>
}

const callDeadline = 20_000 // an engine under load inspects in seconds
const listWidth = 8 // containers inspected at once

export class DockerEngine implements Engine {
  readonly #modem: Modem

  constructor(endpoint: Endpoint) {
    this.#modem = new Modem(connectionOf(endpoint))
  }

  async list(): Promise<readonly Inspection[]> {
    const rows = await this.#rows('/containers/json', { all: true })
    const ids = rows.flatMap((row) => containerIdOf(row) ?? [])
    const found: Inspection[] = []
    const worker = async (): Promise<void> => {
      for (let id = ids.pop(); id !== undefined; id = ids.pop()) {
        const inspection = await this.inspect(id)
        if (inspection !== undefined) found.push(inspection)
      }
    }
    await Promise.all(Array.from({ length: Math.min(listWidth, ids.length) }, worker))
    return found
  }

  async inspect(id: ContainerId): Promise<Inspection | undefined> {
    try {
      return inspectionOf(await this.#ask({ path: `/containers/${id}/json` }))
    } catch (error) {
      if (error instanceof DroverError && statusOf(error.cause) === 404) return undefined
      throw error
    }
  }

  async networks(): Promise<readonly NetworkFrame[]> {
    const rows = await this.#rows('/networks')
    return rows.flatMap((row) => networkFrameOf(row) ?? [])
  }

  async version(): Promise<EngineInfo> {
    return engineInfoOf(await this.#ask({ path: '/version' }))
  }

  async events(since: bigint | undefined, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>> {
    const filters = { type: ['container', 'network'] }
    const query = since === undefined ? { filters } : { filters, since: sinceOf(since) }
    const stream = (await this.#ask({ path: '/events', query, isStream: true, signal })) as IncomingMessage
    stream.on('error', () => {}) // the iteration rejects with it; an abort before that must not be uncaught
    return eventsOf(stream)
  }

  async #rows(path: string, query?: object): Promise<readonly unknown[]> {
    const rows = await this.#ask({ path, query })
    if (!Array.isArray(rows)) throw new DroverError('ENGINE_UNAVAILABLE', `${path} is answered by no list`)
    return rows
  }

  async #ask({ path, query = {}, isStream = false, signal }: Question): Promise<unknown> {
    const abortSignal = signal ?? AbortSignal.timeout(callDeadline)
    const request = {
      path: `${path}?`,
      method: 'GET',
      options: { ...query },
      isStream,
      abortSignal,
      statusCodes,
    }
    try {
      return await new Promise((resolve, reject) =>
        this.#modem.dial(request, (error, answer) => (error ? reject(error) : resolve(answer))),
      )
    } catch (error) {
      throw unavailable(error)
    }
  }
}

interface Question {
  readonly path: string
  readonly query?: object | undefined
  /** The answer is the open stream, once its head has come. */
  readonly isStream?: boolean
  /** Instead of a deadline. */
  readonly signal?: AbortSignal
}

/** What the engine's API answers; anything but `true` is an error, by that name. */
const statusCodes = { 200: true, 400: 'bad parameter', 404: 'no such container', 500: 'server error' }

const unavailable = (error: unknown): DroverError =>
  error instanceof DroverError
    ? error
    : new DroverError('ENGINE_UNAVAILABLE', reasonOf(error), { cause: error })

const statusOf = (error: unknown): unknown =>
  error instanceof Error && 'statusCode' in error ? error.statusCode : undefined

/** Seconds, cut to what a number holds: an event may come twice, none is left out. */
const sinceOf = (stamp: bigint): number => Number(stamp / 1000n) / 1e6

/** Everything is said explicitly, so that docker-modem has nothing left to read from the environment. */
function connectionOf(endpoint: Endpoint): Modem.ConstructorOptions {
  if (endpoint.is === 'unusable') throw new DroverError('CONFIG_INVALID', `docker.host: ${endpoint.why}`)
  if (endpoint.is === 'socket')
    return {
      socketPath: endpoint.path,
      host: undefined,
      port: undefined,
      protocol: 'http',
      timeout: 0,
      ...noTls,
    }
  const { host, port, tls } = endpoint
  const address = host.includes(':') ? `[${host}]` : host
  const common = { host: address, port, pathPrefix: '/', timeout: 0 }
  if (tls === undefined) return { ...common, protocol: 'http', ...noTls }
  const read = (path: string | undefined): Buffer | undefined => (path ? fileOf(path) : undefined)
  return { ...common, protocol: 'https', ca: read(tls.ca), cert: read(tls.cert), key: read(tls.key) }
}

const noTls = { ca: undefined, cert: undefined, key: undefined }

function fileOf(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new DroverError('CONFIG_UNREADABLE', `docker.tls: ${reasonOf(error)}`, { cause: error })
  }
}

async function* eventsOf(stream: NodeJS.ReadableStream): AsyncIterable<EngineEvent> {
  let rest = ''
  stream.setEncoding('utf8')
  try {
    for await (const chunk of stream) {
      const lines = `${rest}${String(chunk)}`.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const event = eventOf(line)
        if (event !== undefined) yield event
      }
    }
  } catch (error) {
    throw unavailable(error)
  }
}

interface RawEvent {
  readonly Type?: unknown
  readonly Action?: unknown
  readonly Actor?: { readonly ID?: unknown; readonly Attributes?: { readonly container?: unknown } }
}

/** One line of the event stream; undefined for what is not about containers or networks. */
export function eventOf(line: string): EngineEvent | undefined {
  const raw = jsonOf(line)
  const about = raw?.Type
  if (raw === undefined || (about !== 'container' && about !== 'network')) return undefined
  const named = about === 'container' ? raw.Actor?.ID : raw.Actor?.Attributes?.container
  // timeNano has more digits than a number holds.
  const stamp = BigInt(/"timeNano":(\d{1,19})/.exec(line)?.[1] ?? '0')
  return {
    about,
    action: typeof raw.Action === 'string' ? raw.Action : '',
    container: containerIdField.safeParse(named).data,
    at: instant(Number(stamp / 1_000_000n)),
    stamp,
  }
}

function jsonOf(line: string): RawEvent | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
