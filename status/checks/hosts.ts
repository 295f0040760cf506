/**
 * What this host sees of the others: who is away, paths that carry too little, clocks that differ, names that two
 * have. Pure.
 */
import type { Environment } from '../../model/environment.ts'
import type { HostId } from '../../model/records.ts'
import { errorIn, type Finding, timeText, warningIn } from '../finding.ts'
import { shared } from '../shared.ts'
import type { Vitals } from '../vitals.ts'

interface Known {
  readonly environment: Environment
  readonly vitals: Vitals
}

export const nameOf = ({ hosts }: Environment, id: HostId): string => hosts.get(id)?.record.name ?? id

/** Paths that carry less than containers send. */
export const narrowPaths = ({ environment, vitals: { pathMtus, tunnel } }: Known): readonly Finding[] =>
  [...pathMtus]
    .filter(([, mtu]) => mtu < tunnel.mtu)
    .map(([id, mtu]) =>
      warningIn(
        'hosts',
        `the path to ${nameOf(environment, id)} carries packets of ${mtu} bytes, containers send up to ${tunnel.mtu}`,
        `TCP adapts by itself; raise the MTU on the way there, or set tunnel.mtu to ${mtu} on every host`,
      ),
    )

export const awayHosts = ({ environment, vitals }: Known): readonly Finding[] =>
  [...environment.hosts.values()]
    .filter(({ record, present }) => record.id !== environment.self && !present)
    .map(({ record: { id, name, endpoint } }) =>
      errorIn(
        'hosts',
        `host ${name} (${endpoint.address}) is away: its containers are left out of DNS; ${lastSeen(vitals, id)}`,
        'check that it runs, that its daemon runs, and that UDP reaches its tunnel port',
      ),
    )

function lastSeen({ lastSeen: seen, peers, since }: Vitals, id: HostId): string {
  const at = seen.get(id)
  const backend = peers.find(({ host }) => host === id)?.backend
  const by = backend === undefined ? '' : ` by ${backend}`
  return at === undefined
    ? `no answer${by} since this daemon started, ${timeText(since)}`
    : `the last answer${by} came ${timeText(at)}`
}

export const sameHostNames = ({ environment }: Known): readonly Finding[] =>
  shared(
    environment.hosts.values(),
    ({ record }) => record.name,
    ({ record }) => record.endpoint.address,
  ).map(([name, at]) =>
    errorIn(
      'hosts',
      `host name ${name} is used at ${at.join(' and ')}`,
      'set host.name in one of their drover.yaml',
    ),
  )

/** Seconds: certificates begin two hours in the past, so much less than that is still worth a line. */
const tolerated = 30

export interface Clocks {
  readonly environment: Environment
  /** How many milliseconds the clocks of other hosts are ahead of this one's, as far as that is known. */
  readonly ahead: ReadonlyMap<HostId, number>
}

export const clockSkew = ({ environment, ahead }: Clocks): readonly Finding[] =>
  [...ahead]
    .filter(([, by]) => Math.abs(by) > tolerated * 1000)
    .map(([id, by]) =>
      warningIn(
        'hosts',
        `the clock of ${nameOf(environment, id)} is ${Math.round(Math.abs(by) / 1000)} s ${by > 0 ? 'ahead of' : 'behind'} this host's`,
        'let both follow a time server (`timedatectl` shows whether they do): certificates count by the clock',
      ),
    )
