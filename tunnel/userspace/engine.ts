/**
 * The control thread's end of the packet thread: starts it, gives it orders and waits for its answers. An order
 * wakes the blocked loop through an eventfd.
 */
import { Worker } from 'node:worker_threads'
import type { Libc } from '../../linux/ffi.ts'
import { DroverError } from '../../model/errors.ts'
import type { DeviceChange } from '../wireguard/change.ts'
import type { Descriptors } from './handover.ts'
import type { EngineOptions, Order, Report, StartFacts } from './orders.ts'

export type StatusReport = Extract<Report, { is: 'status' }>
type ReadyReport = Extract<Report, { is: 'ready' }>
export type Ending = { readonly is: 'gone' | 'stopped' } | { readonly is: 'failed'; readonly why: string }

const entry = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)

export class Engine {
  readonly facts: StartFacts
  /** Whether it goes on with the sessions of a predecessor. */
  readonly heir: boolean
  /** Settles when the packet thread has ended; never rejects. */
  readonly ended: Promise<Ending>
  readonly #thread: PacketThread

  private constructor(thread: PacketThread, { facts, heir }: ReadyReport) {
    this.#thread = thread
    this.facts = facts
    this.heir = heir
    this.ended = thread.ended
  }

  /** Resolves when the device is there and the loop runs. */
  static async start(libc: Libc, options: EngineOptions): Promise<Engine> {
    const thread = new PacketThread(libc, options)
    return new Engine(thread, await thread.ready)
  }

  /** An errno, 0 when the change is in force. */
  async set(change: DeviceChange): Promise<number> {
    const report = await this.#thread.ask((id) => ({ is: 'set', id, change }))
    return report.is === 'done' ? report.errno : 5
  }

  async status(): Promise<StatusReport> {
    const report = await this.#thread.ask((id) => ({ is: 'get', id }))
    if (report.is === 'status') return report
    throw new DroverError('TUNNEL_UNAVAILABLE', 'the packet thread has ended')
  }

  /** The descriptors that packets pass through now. */
  async descriptors(): Promise<Omit<Descriptors, 'uapi'>> {
    return (await this.status()).descriptors
  }

  /** A little of what `freeze` takes, between packets. */
  async practise(): Promise<void> {
    await this.#thread.ask((id) => ({ is: 'practise', id }))
  }

  /** Stops packets; returns when all that a successor needs has gone out by that descriptor, in that version. */
  async freeze(channel: number, version: number): Promise<void> {
    const report = await this.#thread.ask((id) => ({ is: 'freeze', id, channel, version }))
    if (report.is !== 'frozen') throw new DroverError('TUNNEL_UNAVAILABLE', 'the packet thread has ended')
  }

  resume(): void {
    this.#thread.order({ is: 'resume' })
  }

  stop(options: { readonly remove: boolean }): void {
    this.#thread.order({ is: 'stop', ...options })
  }
}

class PacketThread {
  readonly ready: Promise<ReadyReport>
  readonly ended: Promise<Ending>
  readonly #libc: Libc
  readonly #wake: number
  readonly #one: number
  readonly #worker: Worker
  readonly #waiting = new Map<number, (report: Report) => void>()
  #nextId = 1

  constructor(libc: Libc, options: EngineOptions) {
    this.#libc = libc
    this.#wake = libc.eventfd()
    this.#one = libc.arena.take(8)
    libc.arena.view.setUint32(this.#one, 1, true)
    this.#worker = new Worker(entry, {
      workerData: { options, wake: this.#wake },
    })
    const ready = Promise.withResolvers<ReadyReport>()
    const ended = Promise.withResolvers<Ending>()
    this.ready = ready.promise
    // Who waits for one of the two learns of the end by the other.
    this.ready.catch(() => undefined)
    this.ended = ended.promise
    const end = (ending: Ending): void => {
      ended.resolve(ending)
      const why = ending.is === 'failed' ? ending.why : 'the packet thread has ended'
      ready.reject(new DroverError('TUNNEL_UNAVAILABLE', why))
      for (const resolve of this.#waiting.values()) resolve({ is: 'failed', why })
      this.#waiting.clear()
    }
    this.#worker.on('message', (report: Report) => {
      if (report.is === 'ready') ready.resolve(report)
      else if (report.is === 'failed') end(report)
      else if (report.is === 'ended') end({ is: report.why })
      else this.#answer(report)
    })
    this.#worker.on('error', (error) =>
      end({ is: 'failed', why: error instanceof Error ? String(error.stack) : String(error) }),
    )
    this.#worker.on('exit', () => end({ is: 'stopped' }))
  }

  ask(orderOf: (id: number) => Order): Promise<Report> {
    const id = this.#nextId++
    const { promise, resolve } = Promise.withResolvers<Report>()
    this.#waiting.set(id, resolve)
    this.order(orderOf(id))
    return promise
  }

  order(order: Order): void {
    this.#worker.postMessage(order)
    this.#libc.write(this.#wake, this.#one, 8)
  }

  #answer(report: Extract<Report, { id: number }>): void {
    this.#waiting.get(report.id)?.(report)
    this.#waiting.delete(report.id)
  }
}
