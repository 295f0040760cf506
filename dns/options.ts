/**
 * What DNS is started with, as the daemon says it and as the thread takes it. Pure.
 */
import { DroverError } from '../model/errors.ts'
import { parseIpv4 } from '../model/ip.ts'
import type { SearchMode } from './answers/search.ts'
import { parseName } from './codec/name.ts'
import type { DnsSockets, ListenOptions } from './link.ts'
import type { LastResort } from './zone/service-target.ts'

export interface DnsOptions {
  /** Must be on an interface of this machine before DNS starts. */
  readonly address: string
  /** 0 for any. */
  readonly port: number
  /** `address` or `address:port`; empty for those of `resolvConf`. */
  readonly upstreams: readonly string[]
  readonly resolvConf: string
  readonly domain: string
  readonly search: SearchMode
  /** As in `ZoneOptions`. */
  readonly lastResort?: LastResort
  /** Further addresses of this host at which we answer: never forwarded to. */
  readonly own?: readonly string[]
  /** Sockets that a predecessor has bound to this address and port. */
  readonly inherited?: DnsSockets | undefined
  /** Path of the file that keeps what is answered (zone-file.ts), for a process that comes after a killed one. */
  readonly kept?: string | undefined
}

export function listenOptionsOf({
  address,
  port,
  upstreams,
  resolvConf,
  domain,
  search,
  own = [],
}: DnsOptions): ListenOptions {
  const parsed = parseIpv4(address)
  if (parsed === undefined) throw new DroverError('DNS_ADDRESS', `${address} is no IPv4 address`)
  return {
    address: parsed,
    port,
    upstreams,
    resolvConf,
    domain: parseName(domain) ?? 'rancher.internal',
    search,
    own: [...own, address],
  }
}
