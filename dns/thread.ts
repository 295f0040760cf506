/**
 * The DNS thread from outside. It can be started before what looks after it is loaded: what it says meanwhile is kept.
 */
import { Worker } from 'node:worker_threads'
import type { FromWorker, ToWorker, WorkerOptions } from './link.ts'

export type ThreadEvent =
  | FromWorker
  | { readonly is: 'error'; readonly error: unknown }
  | { readonly is: 'ended' }

const entry = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)

export class DnsThread {
  readonly #worker = new Worker(entry, { name: 'drover-dns' })
  readonly #kept: ThreadEvent[] = []
  #take: (event: ThreadEvent) => void = (event) => void this.#kept.push(event)
  #begun: WorkerOptions | undefined
  /** Resolves at its end. */
  readonly exited: Promise<void>

  /** Loads, and does nothing before it has begun. */
  constructor() {
    this.#worker.on('message', (message: FromWorker) => this.#take(message))
    this.#worker.on('error', (error) => this.#take({ is: 'error', error }))
    this.exited = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#take({ is: 'ended' })
        resolve()
      })
    })
  }

  /** What it was begun with. */
  get begun(): WorkerOptions | undefined {
    return this.#begun
  }

  begin(options: WorkerOptions): void {
    this.#begun = options
    this.tell({ is: 'begin', options })
  }

  tell(message: ToWorker): void {
    this.#worker.postMessage(message)
  }

  /** Everything that it has said and will say. */
  listen(take: (event: ThreadEvent) => void): void {
    this.#take = take
    for (const event of this.#kept.splice(0)) take(event)
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }
}
