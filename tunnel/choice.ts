/**
 * Which backend carries packets to a peer, and why; decided by the sender alone, since a receiver takes either. An
 * order of preference from what both hosts can, and what probes bound to each backend have shown. A backend that
 * carries no probe is left within 10 s, one that is better is gone back to once it works, the later the more often
 * it has failed. A backend never carries anything before a probe has passed by it. Pure: `now` comes in.
 */
import type { HostRecord } from '../model/records.ts'
import { type Millis, minutes, seconds } from '../model/time.ts'

export const backendNames = ['ipsec', 'wireguard'] as const
export type BackendName = (typeof backendNames)[number]
export type BackendWish = 'auto' | BackendName

/** Who does ESP on this host for a charon that runs; `why`: a clause for people. */
export type IpsecState =
  | { readonly is: 'kernel' }
  | { readonly is: 'userspace' }
  | { readonly is: 'none'; readonly why: string }

export interface Preference {
  /** The best first, each of them can be used. */
  readonly order: readonly [BackendName, ...BackendName[]]
  /** Why the first one is the first. */
  readonly reason: string
}

export function preferenceFor(
  wish: BackendWish,
  own: IpsecState,
  peer: Pick<HostRecord, 'name' | 'ipsec'>,
): Preference {
  if (wish === 'wireguard') return { order: ['wireguard'], reason: 'as configured' }
  if (own.is === 'none') return { order: ['wireguard'], reason: `no IPsec here: ${own.why}` }
  if (peer.ipsec === undefined) return { order: ['wireguard'], reason: `${peer.name} has no IPsec` }
  if (wish === 'ipsec') return { order: ['ipsec', 'wireguard'], reason: 'as configured' }
  if (own.is === 'kernel' && peer.ipsec.esp === 'kernel')
    return { order: ['ipsec', 'wireguard'], reason: 'both hosts have IPsec in their kernel' }
  const where = own.is === 'kernel' ? peer.name : 'this host'
  return { order: ['wireguard', 'ipsec'], reason: `${where} has no IPsec in its kernel` }
}

/** What the probes of one backend to one peer have shown. */
export interface Evidence {
  /** When the first of them, or the last that was answered, became known. */
  readonly heard: Millis
  /** In a row, up to the last one. */
  readonly unanswered: number
  /** Since when it carries: it has not been silent in between. Undefined while it is, or never did. */
  readonly carriesSince: Millis | undefined
}

/** Fewer in a row may be bad luck. */
const missesUntilSilent = 3
/** Probes every 3 s, every second while one is owed, each waited for 2 s: less than the 10 s that are promised. */
const silentAfter = seconds(6.5)

export const isSilent = ({ unanswered, heard }: Evidence, now: Millis): boolean =>
  unanswered >= missesUntilSilent && now - heard >= silentAfter

/** `before`: undefined for the first probe. */
export function evidenceAfter(before: Evidence | undefined, answered: boolean, now: Millis): Evidence {
  if (answered) return { heard: now, unanswered: 0, carriesSince: before?.carriesSince ?? now }
  const next = {
    heard: before?.heard ?? now,
    unanswered: (before?.unanswered ?? 0) + 1,
    carriesSince: before?.carriesSince,
  }
  return isSilent(next, now) ? { ...next, carriesSince: undefined } : next
}

export type EvidenceOf = Readonly<Partial<Record<BackendName, Evidence>>>

/** What is used now, and what the past says of what would be better. */
export interface Standing {
  readonly backend: BackendName
  /** How often the preferred one was left because it was silent; forgotten when it has worked for long enough. */
  readonly failures: number
}

export interface Choice {
  readonly standing: Standing
  /** One sentence for people; it changes only when something does. */
  readonly reason: string
}

const firstHold = seconds(5)
const longestHold = minutes(5)
const forgetAfter = minutes(15)

/** How long the preferred backend must have worked before it is used again. */
const holdOf = (failures: number): number =>
  failures === 0 ? 0 : Math.min(longestHold, firstHold * 2 ** (failures - 1))

const labels: Readonly<Record<BackendName, string>> = { ipsec: 'IPsec', wireguard: 'WireGuard' }

/**
 * `before`: undefined for a peer that has just come; then `found` says what an earlier daemon's routes used, which
 * goes on, and without it begins the one that works everywhere.
 */
export function choose(
  { order, reason }: Preference,
  evidence: EvidenceOf,
  before: Standing | BackendName | undefined,
  now: Millis,
): Choice {
  const standing = recalled(before, order, evidence, now)
  const backend = backendOf(order, evidence, standing, now)
  const fell = standing.backend === order[0] && backend !== order[0]
  const next = { backend, failures: standing.failures + (fell ? 1 : 0) }
  return { standing: next, reason: reasonOf({ order, reason }, evidence, next, now) }
}

function recalled(
  before: Standing | BackendName | undefined,
  order: Preference['order'],
  evidence: EvidenceOf,
  now: Millis,
): Standing {
  const found = typeof before === 'object' ? before.backend : before
  const backend = found !== undefined && order.includes(found) ? found : (order.at(-1) ?? order[0])
  const failures = typeof before === 'object' ? before.failures : 0
  const worked = now - (evidence[order[0]]?.carriesSince ?? now)
  return { backend, failures: worked > forgetAfter ? 0 : failures }
}

function backendOf(
  [best, ...others]: Preference['order'],
  evidence: EvidenceOf,
  { backend, failures }: Standing,
  now: Millis,
): BackendName {
  const carries = (name: BackendName): boolean =>
    evidence[name]?.unanswered === 0 && evidence[name]?.carriesSince !== undefined
  const used = evidence[backend]
  if (used !== undefined && isSilent(used, now))
    return [best, ...others].find((name) => name !== backend && carries(name)) ?? backend
  if (backend === best || !carries(best)) return backend
  return now - (evidence[best]?.carriesSince ?? now) >= holdOf(failures) ? best : backend
}

function reasonOf(
  { order, reason }: Preference,
  evidence: EvidenceOf,
  { backend, failures }: Standing,
  now: Millis,
): string {
  const [best] = order
  const used = evidence[backend]
  if (order.length > 1 && used !== undefined && isSilent(used, now)) return 'no backend carries a probe'
  if (backend === best) return reason
  const preferred = evidence[best]
  if (preferred?.carriesSince === undefined)
    return `${labels[best]} ${failures === 0 ? 'has not carried a probe yet' : 'carries no probe'}`
  return `${labels[best]} has failed ${failures === 1 ? 'once' : `${failures} times`}: it is used again when it has worked for ${holdOf(failures) / 1000} s`
}
