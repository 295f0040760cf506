/**
 * Names before all else. Loading the daemon takes longest of what a killed one is missed for: its DNS thread loads
 * beside it, and answers what the one before was told until the daemon itself knows what holds.
 */
import { listenOptionsOf } from '../dns/options.ts'
import { DnsThread } from '../dns/thread.ts'
import { readZoneFile } from '../dns/zone-file.ts'
import { formatIpv4 } from '../model/ip.ts'
import type { ConfigSources } from './config/load.ts'
import { dnsOptionsOf, serversAddress, zoneFileOf } from './dns-options.ts'
import { variable } from './handover/handover.ts'
import { holdsAddress } from './machine.ts'

export class EarlyDns {
  readonly thread = new DnsThread()

  /**
   * Answers what was answered here last, where the host's network still leads to it; throws CONFIG_INVALID. What keeps
   * it from that is the daemon's to find, which starts another thread then.
   */
  async answer(sources: ConfigSources): Promise<void> {
    const { configOf } = await import('./config/machine-config.ts')
    const config = configOf(sources)
    const tellings = readZoneFile(zoneFileOf(config))
    const [first] = tellings
    if (first?.is !== 'zone' || !holdsAddress(formatIpv4(serversAddress))) return
    const { domain } = first.piece
    this.thread.begin({ ...listenOptionsOf(dnsOptionsOf(config, domain)), inherited: undefined })
    for (const telling of tellings) this.thread.tell(telling)
    this.thread.tell({ is: 'listen' })
  }

  /** Whoever has taken the thread has ended it before. */
  end(): Promise<void> {
    return this.thread.end()
  }
}

/** Undefined for a successor: its predecessor answers until it is ready. */
export const earlyDns = (variables: Readonly<Record<string, string | undefined>>): EarlyDns | undefined =>
  variables[variable] === undefined ? new EarlyDns() : undefined
