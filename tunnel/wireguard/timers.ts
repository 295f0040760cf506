/**
 * The timers of one peer (paper 6) as deadlines. Events of the data path only move numbers; `due` names what has
 * to be done, one thing at a time. `earliest` may be too early after a deadline was lifted, never too late.
 */
import { ERASE_AFTER, KEEPALIVE_TIMEOUT, REKEY_ATTEMPT_TIME, REKEY_TIMEOUT } from './constants.ts'

const NEVER = Number.POSITIVE_INFINITY

/**
 * - `retry`: no answer to the initiation; send another.
 * - `give-up`: no answer for REKEY_ATTEMPT_TIME.
 * - `keepalive`: data came and nothing went back.
 * - `persistent`: the operator's keepalive.
 * - `silence`: data went out and nothing came back: a new handshake.
 * - `erase`: nothing was negotiated for long: forget all keys.
 */
export type TimerAction = 'retry' | 'give-up' | 'keepalive' | 'persistent' | 'silence' | 'erase'

/** All of it; deadlines are on the scale of the device's clock. */
export interface TimersState {
  readonly spread: number
  readonly attemptsFrom: number
  readonly retryAt: number
  readonly keepaliveAt: number
  readonly keepaliveAgain: boolean
  readonly silenceAt: number
  readonly eraseAt: number
  readonly persistentAt: number
  readonly interval: number
}

export class PeerTimers {
  readonly #jitter: () => number
  #spread: number
  #attemptsFrom = 0
  #retryAt = NEVER
  #keepaliveAt = NEVER
  #keepaliveAgain = false
  #silenceAt = NEVER
  #eraseAt = NEVER
  #persistentAt = NEVER
  /** Milliseconds; 0 for off. */
  #interval = 0
  earliest = NEVER

  /** `jitter` answers 0 to MAX_JITTER milliseconds. */
  constructor(jitter: () => number) {
    this.#jitter = jitter
    this.#spread = jitter()
  }

  /** Switches the persistent keepalive; true when it was off and one should go out at once. */
  persist(interval: number, now: number): boolean {
    const wasOff = this.#interval === 0
    this.#interval = interval
    this.#persistentAt = interval === 0 ? NEVER : this.#at(now + interval)
    return wasOff && interval > 0
  }

  /** Somebody wants to send: the time for attempts begins anew (paper 6.4). */
  attemptsBegin(now: number): void {
    this.#attemptsFrom = now
  }

  initiationSent(now: number): void {
    this.#spread = this.#jitter()
    this.#retryAt = this.#at(now + REKEY_TIMEOUT + this.#spread)
    this.authenticatedSent(now)
  }

  /** Makes sure that there is another attempt, where none is scheduled. */
  retryBy(at: number): void {
    if (this.#retryAt === NEVER) this.#retryAt = this.#at(at)
  }

  handshakeCompleted(): void {
    this.#retryAt = NEVER
  }

  sessionDerived(now: number): void {
    this.#eraseAt = this.#at(now + ERASE_AFTER)
  }

  dataSent(now: number): void {
    if (this.#silenceAt === NEVER)
      this.#silenceAt = this.#at(now + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + this.#spread)
  }

  dataReceived(now: number): void {
    if (this.#keepaliveAt === NEVER) this.#keepaliveAt = this.#at(now + KEEPALIVE_TIMEOUT)
    else this.#keepaliveAgain = true
  }

  /** Data, keepalive or handshake message. */
  authenticatedSent(now: number): void {
    this.#keepaliveAt = NEVER
    this.#keepaliveAgain = false
    this.#traversed(now)
  }

  authenticatedReceived(now: number): void {
    this.#silenceAt = NEVER
    this.#traversed(now)
  }

  /** What has to be done now; call until undefined. */
  due(now: number): TimerAction | undefined {
    const action = this.#take(now)
    if (action === undefined)
      this.earliest = Math.min(
        this.#retryAt,
        this.#keepaliveAt,
        this.#silenceAt,
        this.#eraseAt,
        this.#persistentAt,
      )
    return action
  }

  state(): TimersState {
    return {
      spread: this.#spread,
      attemptsFrom: this.#attemptsFrom,
      retryAt: this.#retryAt,
      keepaliveAt: this.#keepaliveAt,
      keepaliveAgain: this.#keepaliveAgain,
      silenceAt: this.#silenceAt,
      eraseAt: this.#eraseAt,
      persistentAt: this.#persistentAt,
      interval: this.#interval,
    }
  }

  restore(state: TimersState): void {
    this.#spread = state.spread
    this.#attemptsFrom = state.attemptsFrom
    this.#retryAt = this.#at(state.retryAt)
    this.#keepaliveAt = this.#at(state.keepaliveAt)
    this.#keepaliveAgain = state.keepaliveAgain
    this.#silenceAt = this.#at(state.silenceAt)
    this.#eraseAt = this.#at(state.eraseAt)
    this.#persistentAt = this.#at(state.persistentAt)
    this.#interval = state.interval
  }

  #take(now: number): TimerAction | undefined {
    if (now >= this.#eraseAt) {
      this.#eraseAt = NEVER
      return 'erase'
    }
    if (now >= this.#retryAt) {
      this.#retryAt = NEVER
      if (now - this.#attemptsFrom < REKEY_ATTEMPT_TIME) return 'retry'
      this.#keepaliveAt = NEVER
      if (this.#eraseAt === NEVER) this.sessionDerived(now)
      return 'give-up'
    }
    if (now >= this.#keepaliveAt) {
      this.#keepaliveAt = this.#keepaliveAgain ? this.#at(now + KEEPALIVE_TIMEOUT) : NEVER
      this.#keepaliveAgain = false
      return 'keepalive'
    }
    if (now >= this.#silenceAt) {
      this.#silenceAt = NEVER
      return 'silence'
    }
    if (now < this.#persistentAt) return undefined
    this.#persistentAt = this.#at(now + this.#interval)
    return 'persistent'
  }

  #traversed(now: number): void {
    if (this.#interval !== 0) this.#persistentAt = this.#at(now + this.#interval)
  }

  #at(deadline: number): number {
    if (deadline < this.earliest) this.earliest = deadline
    return deadline
  }
}
