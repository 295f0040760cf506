/**
 * What runs on the engine, kept true. Events are hints: the container that one names is inspected; on connect
 * and every 30 s everything is listed. Consumers get whole states and may miss intermediate ones. While the
 * engine is away the last state stays, once, with `connected: false`.
 */
import type { EngineContainer, EngineNetwork } from '../model/engine.ts'
import { reasonOf } from '../model/errors.ts'
import { type Clock, type Log, type Meter, sleep } from '../model/ports.ts'
import type { ContainerId } from '../model/records.ts'
import { type Instant, instant, type Millis, millis, seconds } from '../model/time.ts'
import type { Engine, EngineEvent } from './engine.ts'
import { type Inspection, type NetworkFrame, networksOf } from './inspect.ts'

export interface EngineState {
  readonly connected: boolean
  readonly containers: ReadonlyMap<ContainerId, EngineContainer>
  /** User-defined networks and who is on them. */
  readonly networks: readonly EngineNetwork[]
  /** When the engine says that happened what led to this state; undefined after a listing. */
  readonly at: Instant | undefined
}

export interface EngineWatchOptions {
  readonly reconcileEvery?: Millis
}

const backoffFrom = 100
const backoffTo = 5000
const lookWidth = 32 // containers inspected at once because of events

/** Actions after which a container may look different; the others (exec, attach, top …) are noise. */
const telling =
  /^(create|start|restart|stop|kill|die|oom|destroy|rename|pause|unpause|update|connect|disconnect|health_status.*)$/

/** Runs until `signal` aborts; never rejects. */
export class EngineWatch {
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #log: Log
  readonly #meter: Meter
  readonly #reconcileEvery: Millis
  #inspections = new Map<ContainerId, Inspection>()
  #frames: readonly NetworkFrame[] = []
  #connected = false
  #lastStamp: bigint | undefined
  /** When a container was last looked at by name, so that a slower listing does not undo it. */
  readonly #looked = new Map<ContainerId, number>()
  #looks = 0

  constructor(
    deps: { readonly engine: Engine; readonly clock: Clock; readonly log: Log; readonly meter: Meter },
    options: EngineWatchOptions = {},
  ) {
    this.#engine = deps.engine
    this.#clock = deps.clock
    this.#log = deps.log
    this.#meter = deps.meter
    this.#reconcileEvery = options.reconcileEvery ?? seconds(30)
  }

  async run(consume: (state: EngineState) => void, signal: AbortSignal): Promise<void> {
    let wait = backoffFrom
    let told = false
    while (!signal.aborted) {
      const reason = await this.#connection(consume, signal).catch(reasonOf)
      if (signal.aborted) return
      if (this.#connected || !told) {
        this.#log.warn('the Docker engine is away', { err: reason })
        told = true
        wait = backoffFrom
        this.#connected = false
        this.#publish(consume, undefined)
      }
      this.#meter.count('drover_engine_reconnects_total')
      await sleep(this.#clock, millis(wait), signal).catch(() => undefined)
      wait = Math.min(backoffTo, wait * 2)
    }
  }

  /** One connection from its first listing to its end; why it ended. */
  async #connection(consume: (state: EngineState) => void, signal: AbortSignal): Promise<string> {
    const cut = new AbortController()
    const stop = (): void => cut.abort()
    signal.addEventListener('abort', stop, { once: true })
    try {
      const events = await this.#engine.events(this.#lastStamp, cut.signal)
      await this.#listAll()
      this.#connected = true
      this.#log.info('watching the Docker engine', { containers: this.#inspections.size })
      this.#publish(consume, undefined)
      return await Promise.race([
        this.#follow(events, consume, cut.signal),
        this.#relist(consume, cut.signal),
      ])
    } finally {
      signal.removeEventListener('abort', stop)
      cut.abort()
    }
  }

  /**
   * Looks at whatever the events name, each container by itself: the engine holds back an inspection while it
   * starts that container, and the others must not wait for it.
   */
  async #follow(
    events: AsyncIterable<EngineEvent>,
    consume: (state: EngineState) => void,
    signal: AbortSignal,
  ): Promise<string> {
    const waiting = new Map<ContainerId, Instant>()
    const looking = new Set<ContainerId>()
    let broken: (error: unknown) => void
    const failure = new Promise<never>((_, reject) => {
      broken = reject
    })
    const look = async (id: ContainerId, at: Instant): Promise<void> => {
      looking.add(id)
      const changed = await this.#look(id)
      looking.delete(id)
      if (signal.aborted) return
      if (changed) this.#publish(consume, this.#happened(id, waiting.get(id) ?? at))
      next()
    }
    const next = (): void => {
      for (const [id, at] of waiting) {
        if (looking.size >= lookWidth) return
        if (looking.has(id)) continue
        waiting.delete(id)
        look(id, at).catch((error) => broken(error))
      }
    }
    const read = async (): Promise<string> => {
      for await (const event of events) {
        if (this.#isRepeated(event)) continue
        if (event.container === undefined) void this.#listNetworks(consume).catch((error) => broken(error))
        else waiting.set(event.container, event.at)
        next()
      }
      return 'the stream of events ended'
    }
    return await Promise.race([read(), failure])
  }

  /** When happened what an inspection has shown: it may be quicker than the event that tells of it. */
  #happened(id: ContainerId, event: Instant): Instant {
    const container = this.#inspections.get(id)?.container
    return instant(Math.max(event, container?.startedAt ?? 0, container?.finishedAt ?? 0))
  }

  /** Whether an event says nothing new; remembers where to go on after a cut. */
  #isRepeated(event: EngineEvent): boolean {
    this.#meter.count('drover_engine_events_total')
    if (this.#lastStamp === undefined || event.stamp > this.#lastStamp) this.#lastStamp = event.stamp
    return event.about === 'container' && !telling.test(event.action)
  }

  async #relist(consume: (state: EngineState) => void, signal: AbortSignal): Promise<string> {
    while (!signal.aborted) {
      await sleep(this.#clock, this.#reconcileEvery, signal).catch(() => undefined)
      if (signal.aborted) break
      if (await this.#listAll()) {
        this.#meter.count('drover_engine_missed_total')
        this.#publish(consume, undefined)
      }
    }
    return 'told to stop'
  }

  /** Inspects one container; whether anything changed. */
  async #look(id: ContainerId): Promise<boolean> {
    this.#looked.set(id, ++this.#looks)
    const found = await this.#engine.inspect(id)
    return found === undefined ? this.#inspections.delete(id) : this.#keep(found)
  }

  /** Keeps what is new and leaves what is equal, so that `===` tells what did not change. */
  #keep(found: Inspection): boolean {
    const known = this.#inspections.get(found.container.id)
    if (known !== undefined && JSON.stringify(known) === JSON.stringify(found)) return false
    this.#inspections.set(found.container.id, found)
    return true
  }

  /** Lists everything; whether it differs from what was known. */
  async #listAll(): Promise<boolean> {
    const begun = this.#looks
    const isNewer = (id: ContainerId): boolean => (this.#looked.get(id) ?? 0) > begun
    const [listed, frames] = await Promise.all([this.#engine.list(), this.#engine.networks()])
    let changed = this.#frame(frames)
    const present = new Set(listed.map(({ container }) => container.id))
    for (const inspection of listed) {
      if (!isNewer(inspection.container.id) && this.#keep(inspection)) changed = true
    }
    for (const id of this.#inspections.keys()) {
      if (!present.has(id) && !isNewer(id)) changed = this.#inspections.delete(id)
    }
    for (const id of this.#looked.keys()) {
      if (!this.#inspections.has(id) && !isNewer(id)) this.#looked.delete(id)
    }
    return changed
  }

  async #listNetworks(consume: (state: EngineState) => void): Promise<void> {
    if (this.#frame(await this.#engine.networks())) this.#publish(consume, undefined)
  }

  #frame(frames: readonly NetworkFrame[]): boolean {
    if (JSON.stringify(frames) === JSON.stringify(this.#frames)) return false
    this.#frames = frames
    return true
  }

  #publish(consume: (state: EngineState) => void, at: Instant | undefined): void {
    this.#meter.gauge('drover_engine_connected', this.#connected ? 1 : 0)
    const all = [...this.#inspections.values()]
    const containers = new Map(all.map(({ container }) => [container.id, container]))
    try {
      consume({ connected: this.#connected, containers, networks: networksOf(this.#frames, all), at })
    } catch (error) {
      this.#log.error('the consumer of engine states failed', { err: error })
    }
  }
}
