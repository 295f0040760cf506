/**
 * The ports of model/ports.ts for tests: a clock that moves only when told, seeded randomness, a log and a
 * meter that remember.
 */
import type { Clock, Labels, Ledger, Log, LogFields, Meter, Random, Timer } from '../../model/ports.ts'
import { type Instant, instant, type Millis, millis } from '../../model/time.ts'

interface Pending {
  readonly at: number
  readonly action: () => void
}

export class FakeClock implements Clock {
  #wall: number
  #boot = 0
  readonly #pending = new Set<Pending>()

  constructor(wall = Date.UTC(2026, 0, 1)) {
    this.#wall = wall
  }

  now(): Instant {
    return instant(this.#wall)
  }

  boot(): Millis {
    return millis(this.#boot)
  }

  after(delay: Millis, action: () => void): Timer {
    const pending = { at: this.#boot + delay, action }
    this.#pending.add(pending)
    return { cancel: () => void this.#pending.delete(pending) }
  }

  /** Moves time forward and runs what falls due, in order. */
  advance(by: Millis): void {
    const until = this.#boot + by
    for (let next = this.#due(until); next !== undefined; next = this.#due(until)) {
      this.#pending.delete(next)
      this.#move(Math.max(0, next.at - this.#boot))
      next.action()
    }
    this.#move(until - this.#boot)
  }

  /** The machine was suspended: both clocks move at once, and what fell due meanwhile runs late. */
  suspended(by: Millis): void {
    this.#move(by)
    this.advance(millis(0))
  }

  /** Sets the wall clock without any time passing. */
  jump(by: Millis): void {
    this.#wall += by
  }

  #move(by: number): void {
    this.#boot += by
    this.#wall += by
  }

  #due(until: number): Pending | undefined {
    let first: Pending | undefined
    for (const pending of this.#pending) {
      if (pending.at <= until && (first === undefined || pending.at < first.at)) first = pending
    }
    return first
  }
}

/** xorshift32: the same seed gives the same run. */
export class SeededRandom implements Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1
  }

  /** A whole number in [0, limit). */
  below(limit: number): number {
    this.#state ^= this.#state << 13
    this.#state ^= this.#state >>> 17
    this.#state ^= this.#state << 5
    this.#state >>>= 0
    return this.#state % limit
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256))
  }
}

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly fields: LogFields
}

export class MemoryLog implements Log {
  readonly lines: LogLine[]
  readonly #fields: LogFields

  constructor(lines: LogLine[] = [], fields: LogFields = {}) {
    this.lines = lines
    this.#fields = fields
  }

  debug(message: string, fields?: LogFields): void {
    this.#write('debug', message, fields)
  }
  info(message: string, fields?: LogFields): void {
    this.#write('info', message, fields)
  }
  warn(message: string, fields?: LogFields): void {
    this.#write('warn', message, fields)
  }
  error(message: string, fields?: LogFields): void {
    this.#write('error', message, fields)
  }
  child(fields: LogFields): Log {
    return new MemoryLog(this.lines, { ...this.#fields, ...fields })
  }

  #write(level: string, message: string, fields: LogFields = {}): void {
    this.lines.push({ level, message, fields: { ...this.#fields, ...fields } })
  }
}

export class MemoryMeter implements Meter {
  readonly values = new Map<string, number>()

  count(name: string, by = 1, labels?: Labels): void {
    const key = seriesOf(name, labels)
    this.values.set(key, (this.values.get(key) ?? 0) + by)
  }
  gauge(name: string, value: number, labels?: Labels): void {
    this.values.set(seriesOf(name, labels), value)
  }
  observe(name: string, _seconds: number, labels?: Labels): void {
    this.count(`${name}_count`, 1, labels)
  }
}

const seriesOf = (name: string, labels: Labels = {}): string =>
  Object.keys(labels).length === 0 ? name : `${name}${JSON.stringify(labels)}`

export class MemoryLedger implements Ledger {
  readonly #entries: Map<string, string>

  constructor(entries: Iterable<[string, string]> = []) {
    this.#entries = new Map(entries)
  }

  entries(): ReadonlyMap<string, string> {
    return this.#entries
  }

  write(changes: ReadonlyMap<string, string | undefined>): void {
    for (const [key, value] of changes) {
      if (value === undefined) this.#entries.delete(key)
      else this.#entries.set(key, value)
    }
  }

  close(): void {}
}
