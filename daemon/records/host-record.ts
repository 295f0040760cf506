/**
 * What this host says of itself.
 */
import type { Ipv4 } from '../../model/ip.ts'
import type { HostRecord } from '../../model/records.ts'
import { type Instant, instant, parseDuration } from '../../model/time.ts'
import type { HostIdentity } from '../../pki/identity.ts'
import type { Config } from '../config/resolve.ts'

export interface HostFacts {
  readonly hostname: string
  readonly size: { readonly memory: number; readonly milliCpu: number; readonly disk: number }
  readonly managed: Ipv4 | undefined
  readonly tunnel: Required<Pick<HostRecord, 'capabilities' | 'wireguardEngine'>>
  readonly ipsec: HostRecord['ipsec']
  /** Version of the Docker engine; empty while there is none. */
  readonly engine: string
  /** Of its signing key, PEM. */
  readonly certificate: string
  /** Fingerprint of the CA whose key it holds. */
  readonly authority: string | undefined
  /** When this host joined. */
  readonly createdAt: Instant
}

export function hostRecordOf(
  identity: HostIdentity,
  config: Config,
  facts: HostFacts,
  now: Instant,
): HostRecord {
  const { authority } = facts
  const presharedSince = presharedSinceAt(config.tunnel.presharedKeys, now)
  return {
    id: identity.id,
    name: config.host.name,
    hostname: facts.hostname,
    signingKey: identity.signingKey,
    certificate: facts.certificate,
    wireguardKey: identity.wireguardKey,
    endpoint: { address: config.host.address, wireguard: config.tunnel.port },
    managed: facts.managed ?? null,
    ...(authority === undefined ? {} : { authority }),
    ...(presharedSince === undefined ? {} : { presharedSince }),
    engine: facts.engine,
    labels: {},
    ...facts.size,
    ...facts.tunnel,
    ...(facts.ipsec === undefined ? {} : { ipsec: facts.ipsec }),
    createdAt: facts.createdAt,
  }
}

/** When the present preshared keys began: the last multiple of their life; undefined where none are wanted. */
export function presharedSinceAt(life: string, now: Instant): Instant | undefined {
  const length = parseDuration(life)
  return length === undefined ? undefined : instant(now - (now % length))
}
