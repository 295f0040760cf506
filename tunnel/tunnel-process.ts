/**
 * Keeps the process of an engine up. One that runs already is found through its socket and left alone; it outlives this
 * process. When it ends it is started again, at once at first, then ever more slowly, and the log says why it ended; one
 * that gave its tunnel to a successor has not ended.
 */
import { spawn } from 'node:child_process'
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { type Clock, type Log, type Meter, sleep } from '../model/ports.ts'
import { millis } from '../model/time.ts'
import type { Keeper } from './keeper.ts'

interface Held {
  readonly ended: Promise<void>
}

export interface TunnelProcessDeps {
  /** Connects to the engine and waits for its answer; rejects where none answers. */
  readonly client: { hold(signal: AbortSignal): Promise<Held> }
  /** Readies what the process needs, before each start; rejects where it cannot run. */
  readonly prepare?: () => Promise<void>
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
}

export interface TunnelProcessOptions {
  /** What it is called in the log and the metrics. */
  readonly name?: 'tunnel' | 'charon'
  /** The command line that runs it in the foreground; empty where somebody else starts it. */
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string | undefined>>
  /** What it says goes here. */
  readonly logFile: string
}

const pollEvery = 20
const shortest = 50
const longest = 5000
/** Who ran this long starts again without waiting. */
const steady = 10_000
/** While one starts, another beside it would only make a slow machine slower. */
const startPatience = 30_000

export class TunnelProcess implements Keeper {
  readonly #deps: TunnelProcessDeps
  readonly #options: TunnelProcessOptions
  readonly #stop = new AbortController()
  readonly #worker: string
  #running = false
  #lastWhy = ''

  constructor(deps: TunnelProcessDeps, options: TunnelProcessOptions) {
    this.#deps = deps
    this.#options = options
    this.#worker = options.name ?? 'tunnel'
  }

  get running(): boolean {
    return this.#running
  }

  /** Calls `up` whenever an engine has come; returns after `close`. */
  async run(up: () => void): Promise<void> {
    const { clock, log, meter, client } = this.#deps
    const { signal } = this.#stop
    let pause = shortest
    while (!signal.aborted) {
      const held = await this.#find(client)
      if (held === undefined) {
        await sleep(clock, millis(pause), signal).catch(() => undefined)
        pause = Math.min(pause * 2, longest)
        continue
      }
      const since = clock.boot()
      this.#running = true
      this.#lastWhy = ''
      await this.#attend(held, up)
      this.#running = false
      if (signal.aborted) return
      log.warn('the tunnel process ended', { worker: this.#worker, ...this.#output })
      meter.count('drover_worker_restarts_total', 1, { worker: this.#worker })
      if (clock.boot() - since > steady) pause = shortest
    }
  }

  /** Stops watching; the process lives on. */
  close(): void {
    this.#stop.abort()
  }

  /** Until nobody serves the socket any more. A successor does from the moment that its predecessor ends. */
  async #attend(held: Held, up: () => void): Promise<void> {
    const { client, log } = this.#deps
    const { signal } = this.#stop
    for (let engine: Held | undefined = held; engine !== undefined; ) {
      up()
      await engine.ended
      if (signal.aborted) return
      engine = await client.hold(signal).catch(() => undefined)
      if (engine !== undefined) log.info('the tunnel process answers again', { worker: this.#worker })
    }
  }

  /** The engine that is there, else the one that was started; undefined when none answers in time. */
  async #find(client: TunnelProcessDeps['client']): Promise<Held | undefined> {
    const { clock, prepare } = this.#deps
    const { signal } = this.#stop
    const hold = () => client.hold(signal).catch(() => undefined)
    const there = await hold()
    if (there !== undefined) return there
    const ready =
      prepare === undefined ||
      (await prepare().then(
        () => true,
        () => false,
      ))
    if (!ready || this.#options.command.length === 0) return undefined
    const alive = this.#start()
    const end = clock.boot() + startPatience
    while (!signal.aborted && alive() && clock.boot() < end) {
      const held = await hold()
      if (held !== undefined) return held
      await sleep(clock, millis(pollEvery), signal).catch(() => undefined)
    }
    return undefined
  }

  /** Starts it in a session of its own; the answer says whether it still lives. */
  #start(): () => boolean {
    const [program = '', ...words] = this.#options.command
    const output = openSync(this.#options.logFile, 'a', 0o600)
    const said = fstatSync(output).size
    const child = spawn(program, words, {
      detached: true,
      env: { ...this.#options.environment },
      stdio: ['ignore', output, output],
    })
    closeSync(output)
    let alive = true
    child.once('exit', (code, signal) => {
      alive = false
      if (code !== 0) this.#failed(signal === null ? this.#lastLine(said) : `killed by ${signal}`, code)
    })
    child.once('error', (err) => {
      alive = false
      this.#deps.log.error('the tunnel process cannot be started', { err, worker: this.#worker })
    })
    child.unref()
    return () => alive
  }

  /** Says so once for each reason until an engine is up: it is tried again and again. */
  #failed(why: string, code: number | null): void {
    if (why === this.#lastWhy) return
    this.#lastWhy = why
    this.#deps.log.warn('the tunnel process failed', { worker: this.#worker, why, code, ...this.#output })
  }

  /** Where to read on; a process of somebody else's has its own place. */
  get #output(): { readonly logFile?: string } {
    const { command, logFile } = this.#options
    return command.length === 0 ? {} : { logFile }
  }

  /** What the process said last, after the first `from` bytes of its output. */
  #lastLine(from: number): string {
    try {
      const text = readFileSync(this.#options.logFile).subarray(from).toString().trimEnd()
      return text.slice(text.lastIndexOf('\n') + 1) || 'it said nothing'
    } catch {
      return 'what it said cannot be read'
    }
  }
}
