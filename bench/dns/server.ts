/**
 * Ours in the DNS benchmark: the daemon's DNS, thread and all, with a made-up environment.
 * Arguments: address, upstream, services, containers of each. Ends with its input.
 */
import { startDns } from '../../dns/dns.ts'
import { MemoryLog, MemoryMeter } from '../../test/support/ports.ts'
import { realClock } from '../../test/support/real-clock.ts'
import { domain, environmentOfSize } from './names.ts'

const [address = '', upstream = '', services, containers] = process.argv.slice(2)

const dns = await startDns(
  { clock: realClock, log: new MemoryLog(), meter: new MemoryMeter() },
  { address, port: 53, upstreams: [upstream], resolvConf: '/nonexistent', domain, search: 'safe' },
)
dns.apply(environmentOfSize({ services: Number(services), containers: Number(containers) }))
process.stdin.resume().on('end', () => process.exit())
