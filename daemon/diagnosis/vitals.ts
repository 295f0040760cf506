/**
 * What the daemon's parts say of themselves now, as one value for the status.
 */
import { formatIpv4 } from '../../model/ip.ts'
import type { Clock } from '../../model/ports.ts'
import type { HostId } from '../../model/records.ts'
import type { Instant } from '../../model/time.ts'
import { errorIn, type Finding } from '../../status/finding.ts'
import type { Vitals } from '../../status/vitals.ts'
import type { Ledgers } from '../compose.ts'
import type { Config } from '../config/resolve.ts'
import type { Control } from '../control.ts'
import { serversAddress } from '../dns-options.ts'
import type { IpsecPart } from '../peers/ipsec-part.ts'
import type { Tunnel } from '../peers/tunnel.ts'
import { trustProblems } from '../trust/trust-admin.ts'
import type { TrustParts } from '../trust/trust-parts.ts'
import { version } from '../version.ts'

export interface VitalSources {
  readonly config: Config
  /** Its URL. */
  readonly store: string
  readonly engine: Vitals['docker']
  readonly clock: Clock
  readonly control: Control | undefined
  readonly lastSeen: Vitals['lastSeen']
  readonly chosen: Vitals['chosen']
  /** What every backend says of its peers. */
  readonly peers: Vitals['peers']
  readonly pathMtus: Vitals['pathMtus']
  readonly since: Instant
  readonly trust: TrustParts
  readonly tunnel: Tunnel
  readonly ipsec: IpsecPart
  readonly ledgers: Ledgers
}

/** Where containers ask, and where the servers listen. */
export const serverPlaces = ({ dns, metadata }: Config): Vitals['servers'] => ({
  dns: placeOf(53, dns.port),
  metadata: placeOf(80, metadata.port),
})

const placeOf = (port: number, own: number): string =>
  `${formatIpv4(serversAddress)}:${port} (on port ${own})`

export function vitalsOf(sources: VitalSources): Vitals {
  const { config, store, engine, clock, control, since, trust, tunnel, ipsec } = sources
  const { lastSeen, pathMtus, chosen, peers } = sources
  const nameOf = (host: HostId): string => control?.environment?.hosts.get(host)?.record.name ?? host
  return {
    version,
    hostName: config.host.name,
    since,
    now: clock.now(),
    store: {
      kind: store === 'embedded' ? 'embedded' : 'etcd',
      url: store,
      connected: control?.fresh ?? false,
    },
    docker: engine,
    tunnel: tunnel.state(),
    ipsec: ipsec.vitals(),
    servers: serverPlaces(config),
    peers,
    chosen,
    lastSeen,
    problems: [
      ...diskProblems(sources.ledgers),
      ...trustProblems(trust, control, clock),
      ...ipsec.problems(nameOf),
    ],
    pathMtus,
  }
}

/** What this host must remember and cannot: one line, since both are on one disk. */
function diskProblems({ journal, snapshots }: Ledgers): readonly Finding[] {
  const trouble = journal.trouble ?? snapshots.trouble
  return trouble === undefined ? [] : [errorIn('machine', trouble.message, trouble.remedy)]
}
