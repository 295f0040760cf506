/**
 * The side that gives: starts the successor as its own child, so that control group, namespaces and sandbox stay and
 * descriptors are inherited. Until the successor is ready, whatever fails ends it and nothing has changed here.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { DroverError, reasonOf } from '../../model/errors.ts'
import {
  descriptorsOf,
  type FromPredecessor,
  type FromSuccessor,
  type ServerSockets,
  variable,
} from './handover.ts'

export interface PredecessorOptions {
  readonly pid: number
  /** Of this process, which the successor's words are as well. */
  readonly words: readonly string[]
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** Loading may take its time on a machine that has much to do. */
const loadDeadline = 60_000
/** Names are answered meanwhile. */
const takeDeadline = 60_000

export class Handover {
  readonly pid: number
  readonly #sockets: () => ServerSockets | undefined
  readonly #options: PredecessorOptions
  readonly #begun = Promise.withResolvers<Successor>()
  #busy = false

  /** `sockets`: what is answered on now, undefined while nothing is. */
  constructor(sockets: () => ServerSockets | undefined, options: PredecessorOptions) {
    this.pid = options.pid
    this.#sockets = sockets
    this.#options = options
  }

  /** Resolves with the successor when there is one that is ready: from then on this daemon ends. */
  get begun(): Promise<Successor> {
    return this.#begun.promise
  }

  /** Starts `program`, the executable and what comes before our own words; rejects where that does not come up. */
  async begin(program: readonly string[]): Promise<{ readonly pid: number }> {
    const sockets = this.#sockets()
    if (this.#busy) throw new DroverError('DAEMON_REPLACE', 'a successor is on its way already')
    if (sockets === undefined) throw new DroverError('DAEMON_REPLACE', 'the daemon is still starting')
    this.#busy = true
    const successor = new Successor([...program, ...this.#options.words], sockets, this.#options.environment)
    try {
      await successor.ready()
    } catch (thrown) {
      successor.kill()
      this.#busy = false
      throw thrown
    }
    this.#begun.resolve(successor)
    return { pid: successor.pid }
  }
}

export class Successor {
  readonly #child: ChildProcess
  readonly #ready = Promise.withResolvers<void>()
  readonly #serving = Promise.withResolvers<void>()

  constructor(
    command: readonly string[],
    sockets: ServerSockets,
    environment: PredecessorOptions['environment'],
  ) {
    const [program = '', ...words] = command
    this.#child = spawn(program, words, {
      detached: true,
      env: { ...environment, [variable]: sockets.ports },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...descriptorsOf(sockets)],
    })
    // Whoever does not wait for these any more has ended it.
    this.#ready.promise.catch(() => undefined)
    this.#serving.promise.catch(() => undefined)
    const fail = (why: string): void => {
      const error = new DroverError('DAEMON_REPLACE', `the successor ${why}`)
      this.#ready.reject(error)
      this.#serving.reject(error)
    }
    this.#child.on('message', (message: FromSuccessor) => {
      if (message.is === 'ready') this.#ready.resolve()
      if (message.is === 'serving') this.#serving.resolve()
    })
    this.#child.once('error', (thrown) => fail(`does not start: ${reasonOf(thrown)}`))
    this.#child.once('exit', (code, signal) =>
      fail(`has ended (${signal ?? code}); the daemon's log says why`),
    )
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  ready(): Promise<void> {
    return within(loadDeadline, this.#ready.promise, 'does not come up')
  }

  /** Gives it all but the questions that are under way; resolves when it answers. */
  async give(): Promise<void> {
    this.#child.send({ is: 'yours' } satisfies FromPredecessor)
    await within(takeDeadline, this.#serving.promise, 'does not take over')
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** It is told by the end of the channel that it is on its own. */
  letGo(): void {
    if (this.#child.connected) this.#child.disconnect()
    this.#child.unref()
  }
}

async function within(deadline: number, promise: Promise<void>, otherwise: string): Promise<void> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => late.reject(new DroverError('DAEMON_REPLACE', `the successor ${otherwise}`)),
    deadline,
  )
  try {
    await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
