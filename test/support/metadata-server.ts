/**
 * The metadata service in a process of its own, for tests that start it in a namespace. Arguments: address, connections
 * per client. A line on its input is answered with its statistics as JSON; it ends with its input.
 */
import { createInterface } from 'node:readline'
import { startMetadata } from '../../metadata/thread.ts'
import { MemoryLog, MemoryMeter } from './ports.ts'
import { containerRecordOf, environmentOf, ip } from './snapshots.ts'

const [address = '', connections, ...askers] = process.argv.slice(2)
const metadata = await startMetadata(
  { log: new MemoryLog(), meter: new MemoryMeter() },
  { address, port: 80, connections: Number(connections), trustedProxies: [], scope: 'environment' },
)
const containers = askers.map((asker, at) =>
  containerRecordOf(at, { name: `asker-${at}`, address: ip(asker) }),
)
const many = Array.from({ length: 1000 }, (_, at) => containerRecordOf(at + 100, { address: null }))
metadata.apply(environmentOf({ containers: [...containers, ...many] }))
const say = async (): Promise<void> =>
  void process.stdout.write(`${JSON.stringify(await metadata.stats())}\n`)
await say()
for await (const _ of createInterface({ input: process.stdin })) await say()
process.exit()
