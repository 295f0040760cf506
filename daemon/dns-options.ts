/**
 * Where DNS and metadata answer containers, and what DNS is started with: the same for whoever starts it, before the
 * daemon is loaded or with it.
 */
import type { DnsOptions } from '../dns/options.ts'
import { formatIpv4, type Ipv4, parseIpv4 } from '../model/ip.ts'
import type { Config } from './config/resolve.ts'

/** docs/architecture.md */
export const serversAddress: Ipv4 = parseIpv4('169.254.169.250') as Ipv4

/** What a killed daemon leaves of its answers. Sockets live in the same folder: both are gone after a boot. */
export const zoneFileOf = ({ run }: Pick<Config, 'run'>): string => `${run}/dns.zone`

export function dnsOptionsOf(config: Pick<Config, 'dns' | 'run'>, domain: string): DnsOptions {
  return { ...config.dns, address: formatIpv4(serversAddress), domain, kept: zoneFileOf(config) }
}
