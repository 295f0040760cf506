/**
 * How long charon takes to be told of many peers, all at once and one that changed, and to say what it has. The peers
 * are not there: what is measured is telling, not key exchange.
 */
import { parseArgs } from 'node:util'
import { must } from '../lab/command.ts'
import { root } from '../lab/layout.ts'
import { DroverError } from '../model/errors.ts'
import { cidrOf, ipv4At } from '../model/ip.ts'
import { type IpsecHost, IpsecWorld } from '../test/support/ipsec-hosts.ts'
import { isRoot } from '../test/support/netns.ts'
import { hostIdOf, ip } from '../test/support/snapshots.ts'
import type { Peer } from '../tunnel/backend.ts'
import { keep, machine, markdown, percentile } from './table.ts'

export const ipsecLoadUsage = 'npm run bench -- ipsec-load [--peers 500] [--rounds 5]'

export async function benchIpsecLoad(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { peers: { type: 'string', default: '500' }, rounds: { type: 'string', default: '5' } },
  })
  const [count, rounds] = [Number(values.peers), Number(values.rounds)]
  if (!(count >= 1 && count <= 1000 && rounds >= 1)) throw new DroverError('USAGE', ipsecLoadUsage)
  if (!isRoot) throw new DroverError('NOT_ROOT', 'network namespaces')
  const world = await IpsecWorld.open()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => void world.close().finally(() => process.exit(130)))
  try {
    const host = await world.host({ number: 1, esp: 'userspace' })
    const text = await report(await measure(host, count, rounds), count, rounds)
    process.stdout.write(`\n${text}\nkept in ${keep('ipsec-load', text)}\n`)
  } finally {
    await world.close()
  }
}

/** Milliseconds of each round, by what was done. */
type Figures = ReadonlyMap<string, readonly number[]>

async function measure(host: IpsecHost, count: number, rounds: number): Promise<Figures> {
  const figures = new Map<string, number[]>()
  const timed = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    const begun = performance.now()
    await work()
    figures.set(what, [...(figures.get(what) ?? []), performance.now() - begun])
  }
  const peers = Array.from({ length: count }, (_, at) => peerAt(at))
  const changed = peers.map((peer, at) => (at === count >> 1 ? peerAt(at, 13) : peer))
  for (let round = 0; round < rounds; round++) {
    await host.start()
    const { backend } = host
    await timed('all of them', () => backend.apply(peers))
    await timed('the same again', () => backend.apply(peers))
    await timed('one changed', () => backend.apply(changed))
    await timed('what charon has', () => backend.status())
    await host.stop()
    await host.start()
    await timed('all of them by the next daemon', () => host.backend.apply(changed))
    await timed('none of them any more', () => host.backend.apply([]))
    await host.stop()
    await host.kill()
  }
  return figures
}

function peerAt(at: number, shift = 0): Peer {
  return {
    host: hostIdOf(at + 2),
    publicKey: '',
    endpoint: { address: `192.168.77.${2 + (at % 250)}`, port: 51_820 },
    allowed: [cidrOf(ipv4At(ip('10.42.0.0'), at * 64 + shift), shift === 0 ? 26 : 32)],
    marks: false,
    ipsec: { port: 4500, esp: 'userspace' },
  }
}

async function report(figures: Figures, count: number, rounds: number): Promise<string> {
  const commit = await must(['git', '-C', root, 'describe', '--always', '--dirty'])
  const ms = (value: number): string => value.toFixed(0)
  const rows = [...figures].map(([what, times]) => [what, ms(percentile(times, 0.5)), ms(Math.max(...times))])
  const head = ['what charon is told or asked', 'median (ms)', 'worst (ms)']
  return `# ipsec-load\n\n${machine()}; commit ${commit}; ${count} peers, ${rounds} rounds.\n\n${markdown(head, rows)}\n`
}
