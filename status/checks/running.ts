/**
 * How the daemon's own parts have run: a store that is behind, workers that had to be started again, rules that
 * had to be mended because somebody else changed them. Pure.
 */
import { errorIn, type Finding, timeText, warningIn } from '../finding.ts'
import type { Vitals } from '../vitals.ts'

export interface Run {
  readonly vitals: Vitals
  readonly store: {
    /** When it came into reach, or went out of it: milliseconds since the epoch. */
    readonly since: number
    /** When the newest list of this host's records that the store shows was signed; null before the first. */
    readonly ownHead: number | null
  }
  /** How often each worker ended and was started again since the daemon started. */
  readonly restarts: Readonly<Record<string, number>>
  /** How often rules, routes or addresses of this host were not as they had been left. */
  readonly mended: { readonly times: number; readonly last: number }
}

const minute = 60_000
/** A host signs its list every minute. */
const storeBehind = 3 * minute
const memorable = 60 * minute

export function storeLag({ vitals, store: { since, ownHead } }: Run): readonly Finding[] {
  const { connected, url } = vitals.store
  if (!connected)
    return [
      warningIn(
        'store',
        `the store ${url} has been out of reach since ${timeText(since)}`,
        'what changes on this host meanwhile is not known to the others',
      ),
    ]
  const newest = Math.max(ownHead ?? 0, since, vitals.since)
  if (vitals.now - newest <= storeBehind) return []
  return [
    errorIn(
      'store',
      `the store ${url} takes nothing from this host: what it shows of it is of ${timeText(newest)}`,
      'see the log for refused writes; check the quota, the disk and the members of etcd (`etcdctl endpoint status`)',
    ),
  ]
}

export const restartedWorkers = ({ restarts }: Run): readonly Finding[] =>
  Object.entries(restarts)
    .filter(([, times]) => times > 0)
    .map(([worker, times]) =>
      warningIn(
        worker === 'tunnel' ? 'tunnel' : worker === 'dns' ? 'dns' : 'daemon',
        `the ${worker} worker ended and was started again ${times === 1 ? 'once' : `${times} times`}`,
        'the log says why; `drover report` collects what is needed to find out',
      ),
    )

export const mendedRules = ({ mended: { times, last }, vitals: { now } }: Run): readonly Finding[] =>
  times === 0 || now - last > memorable
    ? []
    : [
        warningIn(
          'network',
          `something changes Drover's rules, routes or addresses on this host: mended ${times === 1 ? 'once' : `${times} times`}, last ${timeText(last)}`,
          'find out what flushes them (a firewall script, firewalld, `nft flush ruleset`, `ip route flush`) and let it leave them alone',
        ),
      ]
