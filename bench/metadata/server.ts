/**
 * Ours in the metadata benchmark: the daemon's metadata service with its thread, and a made-up environment. Arguments:
 * address, containers, address of the asker, and `dns` for the daemon's resolver beside it. Commands on its input: `change` shows the next
 * snapshot, `stats` and `delay` tell how it is. Ends with its input.
 */
import '../../cli/compile-cache.ts'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { startDns } from '../../dns/dns.ts'
import { startMetadata } from '../../metadata/thread.ts'
import { parseIpv4 } from '../../model/ip.ts'
import { MemoryLog, MemoryMeter } from '../../test/support/ports.ts'
import { realClock } from '../../test/support/real-clock.ts'
import { ChangingEnvironment } from './environment.ts'

const [address = '', containers, asker = '', beside] = process.argv.slice(2)
const environment = new ChangingEnvironment(Number(containers), parseIpv4(asker))
const ports = { clock: realClock, log: new MemoryLog(), meter: new MemoryMeter() }
const resolver = { address, port: 53, upstreams: [], resolvConf: '/nonexistent' } as const
const dns =
  beside === 'dns'
    ? await startDns(ports, { ...resolver, domain: 'rancher.internal', search: 'safe' })
    : undefined
const metadata = await startMetadata(ports, {
  address,
  port: 80,
  connections: 100_000,
  trustedProxies: [],
  scope: 'environment',
})
const delay = monitorEventLoopDelay({ resolution: 1 })

const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`)

const commands: Readonly<Record<string, () => Promise<object> | object>> = {
  change() {
    const next = environment.change()
    const at = process.hrtime.bigint()
    metadata.apply(next)
    return { at: String(at) }
  },
  stats: async () => ({ ...(await metadata.stats()) }),
  /** The longest delays of the control loop's thread since it was asked last, milliseconds. */
  delay() {
    delay.enable()
    const [p99, max] = [delay.percentile(99) / 1e6 - 1, delay.max / 1e6 - 1]
    delay.reset()
    return { p99, max }
  },
}

dns?.apply(environment.now)
metadata.apply(environment.now)
await metadata.stats()
say({ ready: true })
for await (const line of createInterface({ input: process.stdin })) say((await commands[line]?.()) ?? {})
process.exit()
