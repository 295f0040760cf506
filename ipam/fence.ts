/**
 * When a host must stop trusting what it owns, and when another host's claims may be taken back. Pure: every
 * time comes in. The two halves fit together: a host that could not renew for half the grace is closed, and its
 * blocks are taken no earlier than a whole grace after its key was last seen.
 */
import type { Environment } from '../model/environment.ts'
import type { HostId } from '../model/records.ts'
import type { Instant, Millis } from '../model/time.ts'

/** One moment by both clocks. */
export interface Stamp {
  readonly boot: Millis
  readonly wall: Instant
}

/** Time from one moment to another by the larger of boot time and wall clock. */
export const span = (from: Stamp, to: Stamp): number => Math.max(to.boot - from.boot, to.wall - from.wall)

const drift = 1000 // the wall clock is slewed by less than this in half a grace

/** Whether this host may allocate. */
export class Fence {
  readonly #limit: number
  #renewed: Stamp | undefined
  #aliveRevision: number | undefined
  /** Of the newest view, while it is one by which this host can tell what is its own. */
  #shown: number | undefined
  #open = false

  constructor(grace: Millis) {
    this.#limit = grace / 2
  }

  /**
   * What the ledger remembers of the last renewal in this run of the kernel. It counts only when the wall clock
   * was not set since: nobody knows for how long a machine slept whose clock may be wrong.
   */
  restore(renewed: Stamp, now: Stamp): void {
    const shift = now.wall - now.boot - (renewed.wall - renewed.boot)
    if (now.boot < renewed.boot || Math.abs(shift) > drift) return
    this.#renewed = renewed
    this.#open = span(renewed, now) < this.#limit
  }

  /** The lease was prolonged by a call sent at `sent`; the alive key stands since `aliveRevision`. */
  renewed(sent: Stamp, aliveRevision: number, now: Stamp): void {
    // A key of before the former one is in another history, of which that view tells nothing.
    if (aliveRevision < (this.#aliveRevision ?? 0)) this.#shown = undefined
    this.#renewed = sent
    this.#aliveRevision = aliveRevision
    this.#look(now)
  }

  /** A fresh view at `revision` that holds our alive key: nobody can take what it shows as ours. */
  confirm(revision: number, now: Stamp): void {
    this.#shown = revision
    this.#look(now)
  }

  /** The newest view is no such one. */
  doubt(): void {
    this.#shown = undefined
  }

  /** Closes by itself, and stays closed until it is renewed and confirmed. */
  isOpen(now: Stamp): boolean {
    if (this.#open && this.#isLate(now)) this.#open = false
    return this.#open
  }

  /** The view may come before the answer to the renewal, and no other one for long: either of them opens. */
  #look(now: Stamp): void {
    const confirmed =
      this.#shown !== undefined && this.#aliveRevision !== undefined && this.#shown >= this.#aliveRevision
    if (confirmed && !this.#isLate(now)) this.#open = true
  }

  #isLate(now: Stamp): boolean {
    return this.#renewed === undefined || span(this.#renewed, now) >= this.#limit
  }
}

/** How long other hosts have given no sign of life, as far as this host could see. */
export class Silences {
  readonly #grace: Millis
  readonly #attention: Millis
  readonly #since = new Map<HostId, number>()
  #lastLook = Number.NEGATIVE_INFINITY

  /** After a look that is older than `attention` everything counts from the start. */
  constructor(grace: Millis, attention: Millis) {
    this.#grace = grace
    this.#attention = attention
  }

  /** Looks at a view; without a fresh one nothing can be known, and every silence starts again. */
  look(hosts: Environment['hosts'], claimants: Iterable<HostId>, fresh: boolean, boot: Millis): void {
    if (!fresh || boot - this.#lastLook > this.#attention) this.#since.clear()
    this.#lastLook = boot
    if (!fresh) return
    const silent = new Set<HostId>()
    for (const id of claimants) {
      const host = hosts.get(id)
      if (host?.alive === undefined && host?.reachability !== 'answers') silent.add(id)
    }
    for (const id of this.#since.keys()) if (!silent.has(id)) this.#since.delete(id)
    for (const id of silent) if (!this.#since.has(id)) this.#since.set(id, boot)
  }

  /** Whether a host's claims may be taken back. */
  isOver(host: HostId, boot: Millis): boolean {
    const since = this.#since.get(host)
    if (boot - this.#lastLook > this.#attention) return false
    return since !== undefined && boot - since >= this.#grace
  }
}
