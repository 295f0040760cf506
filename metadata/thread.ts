/**
 * The daemon's side of the metadata thread: starts it, tells it changes, and starts it again with the newest
 * state when it dies. A crash over there never takes the daemon with it.
 */
import { Worker } from 'node:worker_threads'
import type { Environment } from '../model/environment.ts'
import { DroverError, reasonOf } from '../model/errors.ts'
import type { Log, Meter } from '../model/ports.ts'
import { deltaOf } from './delta.ts'
import type { FromWorker, MetadataStats, ToWorker, WorkerOptions } from './messages.ts'

export interface Metadata {
  /** Where it listens; the port is real also when 0 was asked for. */
  readonly port: number
  /** Shows a snapshot; only what changed since the last one goes to the thread. */
  apply(environment: Environment): void
  /** Undefined while the thread is being started again. */
  stats(): Promise<MetadataStats | undefined>
  /** For a successor to inherit; undefined while the thread is being started again. */
  socket(): number | undefined
  close(): Promise<void>
}

interface Ports {
  readonly log: Log
  readonly meter: Meter
}

/** MiB for objects that die young. Large snapshots would make V8 take several times as much, and keep it. */
const youngGeneration = 12

const soonest = 50
const latest = 5000

class MetadataThread implements Metadata {
  readonly #ports: Ports
  readonly #options: WorkerOptions
  readonly #waiting: ((stats: MetadataStats | undefined) => void)[] = []
  #worker: Worker | undefined
  #shown: Environment | undefined
  #counted: MetadataStats | undefined
  #port: number
  #socket: number | undefined
  #inherited: number | undefined
  #backOff = soonest
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(ports: Ports, options: WorkerOptions) {
    this.#ports = ports
    this.#options = options
    this.#port = options.port
    this.#inherited = options.inherited
  }

  get port(): number {
    return this.#port
  }

  /** Resolves when it listens, rejects when it cannot. */
  start(): Promise<void> {
    const workerData: WorkerOptions = { ...this.#options, port: this.#port, inherited: this.#inherited }
    // Once: a thread that ends has closed it.
    this.#inherited = undefined
    const file = import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js'
    const resourceLimits = { maxYoungGenerationSizeMb: youngGeneration }
    const worker = new Worker(new URL(file, import.meta.url), {
      workerData,
      resourceLimits,
      name: 'metadata',
    })
    this.#worker = worker
    this.#counted = undefined
    if (this.#shown !== undefined) this.#tell({ is: 'delta', delta: deltaOf(undefined, this.#shown) })
    return new Promise((resolve, reject) => {
      worker.on('message', (message: FromWorker) => {
        if (message.is === 'stats') this.#take(message.stats)
        if (message.is === 'failed') this.#failed(message.revision, message.err)
        if (message.is === 'refused') reject(this.#refusal(message.why))
        if (message.is !== 'listening') return
        this.#port = message.port
        this.#socket = message.fd
        this.#backOff = soonest
        resolve()
      })
      worker.on('error', (err: unknown) => {
        this.#ports.log.error('the metadata thread failed', { err })
        reject(this.#refusal(reasonOf(err)))
      })
      worker.on('exit', () => {
        reject(this.#refusal('it ended'))
        this.#ended(worker)
      })
    })
  }

  apply(environment: Environment): void {
    const delta = deltaOf(this.#shown, environment)
    this.#shown = environment
    this.#tell({ is: 'delta', delta })
  }

  stats(): Promise<MetadataStats | undefined> {
    if (this.#worker === undefined) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      this.#tell({ is: 'stats' })
    })
  }

  socket(): number | undefined {
    return this.#socket
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    const worker = this.#worker
    if (worker === undefined) return
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
    const force = setTimeout(() => void worker.terminate(), 2000)
    this.#tell({ is: 'close' })
    await ended
    clearTimeout(force)
  }

  #failed(revision: number, err: unknown): void {
    this.#ports.meter.count('drover_failures_total', 1, { what: 'metadata' })
    this.#ports.log.error('a snapshot could not be shown by metadata', { revision, err })
  }

  #tell(message: ToWorker): void {
    this.#worker?.postMessage(message)
  }

  #refusal(why: string): DroverError {
    const { address } = this.#options
    const fields = { address, port: this.#port }
    return new DroverError('LISTEN_FAILED', `metadata on ${address}:${this.#port}: ${why}`, { fields })
  }

  #take(stats: MetadataStats): void {
    const { meter } = this.#ports
    const before = this.#counted
    this.#counted = stats
    meter.count('drover_metadata_requests_total', stats.requests - (before?.requests ?? 0))
    meter.count('drover_metadata_refused_total', stats.refused - (before?.refused ?? 0))
    for (const [limit, count] of Object.entries(stats.limited)) {
      const earlier = new Map(Object.entries(before?.limited ?? {})).get(limit) ?? 0
      meter.count('drover_metadata_limited_total', count - earlier, { limit })
    }
    meter.gauge('drover_metadata_waiting', stats.waiting)
    meter.gauge('drover_metadata_connections', stats.connections)
    for (const resolve of this.#waiting.splice(0)) resolve(stats)
  }

  #ended(worker: Worker): void {
    if (this.#worker !== worker) return
    this.#worker = undefined
    this.#socket = undefined
    for (const resolve of this.#waiting.splice(0)) resolve(undefined)
    if (this.#closed) return
    this.#ports.meter.count('drover_worker_restarts_total', 1, { worker: 'metadata' })
    this.#ports.log.warn('the metadata thread is started again', { delay: this.#backOff })
    this.#timer = setTimeout(() => {
      this.start().catch((err: unknown) =>
        this.#ports.log.error('the metadata thread does not start', { err }),
      )
    }, this.#backOff)
    this.#timer.unref()
    this.#backOff = Math.min(this.#backOff * 2, latest)
  }

  /** Gives up for good: the first start failed. */
  async abandon(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#worker?.terminate()
  }
}

/** Starts the metadata service; rejects with LISTEN_FAILED when its address cannot be had. */
export async function startMetadata(ports: Ports, options: WorkerOptions): Promise<Metadata> {
  const thread = new MetadataThread(ports, options)
  try {
    await thread.start()
  } catch (error) {
    await thread.abandon()
    throw error
  }
  return thread
}
