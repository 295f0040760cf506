/**
 * The side that gives a tunnel away: starts its successor as its own child, so that control group, namespaces,
 * sandbox and variables stay, and descriptors are inherited; freezes; sends the state over the socket between the
 * two; and is done for good once the successor has taken it. Until then whatever fails ends the successor, and
 * only then packets flow here again.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { DroverError, reasonOf } from '../../model/errors.ts'
import { commonVersion, HANDOVER_VERSIONS } from '../wireguard/handover.ts'
import { type Descriptors, type Frame, FrameReader, inheritance } from './handover.ts'

export interface HandoverDeps {
  readonly descriptors: () => Promise<Descriptors>
  /** Two ends of a stream. */
  readonly socketPair: () => readonly [number, number] | undefined
  /** Does a little of what `freeze` takes, while packets flow. */
  readonly practise: () => Promise<void>
  /** Stops packets; returns when the state has gone out by that descriptor, in that version. */
  readonly freeze: (channel: number, version: number) => Promise<void>
  readonly resume: () => void
}

export interface HandoverOptions {
  /** The command line of the successor. */
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string | undefined>>
}

export type HandoverOutcome =
  | { readonly is: 'taken'; readonly pid: number }
  | { readonly is: 'refused'; readonly why: string }

const loadDeadline = 60_000
const practiceEvery = 4
/** Packets wait meanwhile. */
const takeDeadline = 3000

const refusal = (why: string): DroverError => new DroverError('TUNNEL_UNAVAILABLE', `the successor ${why}`)

export class Handover {
  readonly #deps: HandoverDeps
  #child: SuccessorProcess | undefined
  #busy = false

  constructor(deps: HandoverDeps) {
    this.#deps = deps
  }

  /** One at a time. Never rejects. */
  async run(options: HandoverOptions): Promise<HandoverOutcome> {
    if (this.#busy) return { is: 'refused', why: 'a successor is on its way already' }
    this.#busy = true
    try {
      const descriptors = await this.#deps.descriptors()
      this.#child = new SuccessorProcess(options, descriptors, this.#channel())
      return await this.#give(this.#child)
    } catch (thrown) {
      return { is: 'refused', why: reasonOf(thrown) }
    } finally {
      this.#child?.letGo()
      this.#child = undefined
      this.#busy = false
    }
  }

  /** Ends a successor that is on its way. */
  close(): void {
    this.#child?.kill()
  }

  /** A predecessor gives its tunnel away once in its life: by then it has done so in small pieces, many times. */
  async #practising(ready: Promise<number>): Promise<number> {
    for (;;) {
      const version = await Promise.race([ready, pause(practiceEvery)])
      if (version !== undefined) return version
      await this.#deps.practise()
    }
  }

  #channel(): readonly [number, number] {
    const pair = this.#deps.socketPair()
    if (pair === undefined) throw new DroverError('TUNNEL_UNAVAILABLE', 'no channel to a successor')
    return pair
  }

  async #give(child: SuccessorProcess): Promise<HandoverOutcome> {
    let frozen = false
    try {
      const version = await this.#practising(child.ready())
      frozen = true
      await Promise.all([this.#deps.freeze(child.channel, version), child.taken()])
      return { is: 'taken', pid: child.pid }
    } catch (thrown) {
      await child.end()
      if (child.hasTaken) return { is: 'taken', pid: child.pid }
      if (frozen) this.#deps.resume()
      throw thrown
    }
  }
}

class SuccessorProcess {
  hasTaken = false
  readonly #child: ChildProcess
  /** The end of the stream to it that is ours. */
  readonly channel: number
  readonly #channel: Socket
  readonly #gone: Promise<void>
  readonly #ready = Promise.withResolvers<number>()
  readonly #taken = Promise.withResolvers<void>()

  constructor(
    { command, environment }: HandoverOptions,
    { tun, uapi, udp4, udp6 }: Descriptors,
    [ours, its]: readonly [number, number],
  ) {
    const [program = '', ...words] = command
    const stdio = ['ignore', 'inherit', 'inherit', its, tun, uapi, udp4, udp6 < 0 ? 'ignore' : udp6] as const
    const succeeds = inheritance({ tun, uapi, udp4, udp6 })
    const env = { ...environment, DROVER_TUNNEL_SUCCEEDS: succeeds }
    this.#child = spawn(program, words, { detached: true, env, stdio: [...stdio] })
    closeSync(its)
    this.channel = ours
    this.#channel = new Socket({ fd: ours, readable: true, writable: true })
    const closed = new Promise<void>((resolve) => this.#channel.once('close', resolve))
    const exited = new Promise<void>((resolve) => {
      this.#child.once('exit', () => resolve())
      this.#child.once('error', () => resolve())
    })
    this.#gone = Promise.all([closed, exited]).then(() => undefined)
    // Whoever does not wait for these any more has ended it.
    this.#ready.promise.catch(() => undefined)
    this.#taken.promise.catch(() => undefined)
    this.#listen()
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** The version that its state is to have. */
  ready(): Promise<number> {
    return within(loadDeadline, this.#ready.promise, 'does not come up')
  }

  taken(): Promise<void> {
    return within(takeDeadline, this.#taken.promise, 'does not take over')
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** Returns when it is dead and all that it said was read. */
  async end(): Promise<void> {
    this.kill()
    await this.#gone
  }

  letGo(): void {
    this.#channel.destroy()
    this.#child.unref()
  }

  #listen(): void {
    const reader = new FrameReader()
    const fail = (thrown: unknown): void => {
      this.#ready.reject(thrown)
      this.#taken.reject(thrown)
    }
    this.#channel.on('data', (chunk: Buffer) => {
      try {
        for (const frame of reader.push(chunk)) this.#take(frame, fail)
      } catch (thrown) {
        fail(thrown)
      }
    })
    this.#channel.on('error', fail)
    this.#channel.once('close', () => fail(refusal('has ended')))
    this.#child.once('error', (thrown) => {
      fail(thrown)
      this.#channel.destroy()
    })
  }

  #take(frame: Frame, fail: (thrown: unknown) => void): void {
    if (frame.is === 'taken') {
      this.hasTaken = true
      this.#taken.resolve()
    } else if (frame.is === 'ready') this.#loaded(frame.reads, fail)
    else fail(refusal(frame.is === 'refused' ? `refuses: ${frame.why}` : 'says what only we say'))
  }

  #loaded(reads: readonly number[], fail: (thrown: unknown) => void): void {
    const version = commonVersion(reads)
    if (version !== undefined) this.#ready.resolve(version)
    else fail(refusal(`reads hand-over versions ${reads.join(', ')}, not ${HANDOVER_VERSIONS.join(', ')}`))
  }
}

async function within<T>(deadline: number, promise: Promise<T>, otherwise: string): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(refusal(otherwise)), deadline)
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
