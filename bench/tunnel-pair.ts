/**
 * Two namespaces with a wire between them (MTU 1500) and an engine of one kind on each: what a contestant of
 * `bench/tunnel.ts` is. Everything lies in namespaces of its own and ends with the world.
 */
import type { ChildProcess } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { must, residentMemory } from '../lab/command.ts'
import type { NetnsWorld, TestNetns } from '../test/support/netns.ts'
import { until } from '../test/support/netns.ts'

/** `command` runs an engine in the foreground for the interface whose name is appended; none for plain veth. */
export interface Contestant {
  readonly name: string
  readonly command: readonly string[] | undefined
}

export interface Pair {
  readonly contestant: Contestant
  readonly one: TestNetns
  readonly other: TestNetns
  /** The address of `other`, reached through what is measured. */
  readonly target: string
  readonly engines: readonly ChildProcess[]
}

interface End {
  readonly space: TestNetns
  readonly device: string
  readonly own: number
  readonly privateKey: string
  readonly publicKey: string
}

const port = 51_820
let pairs = 0

export async function pairOf(world: NetnsWorld, contestant: Contestant): Promise<Pair> {
  const number = ++pairs
  const [one, other] = [await world.netns(`${number}a`), await world.netns(`${number}b`)]
  await world.wire(one, 'w0 192.168.77.1/24', other, 'w0 192.168.77.2/24')
  if (contestant.command === undefined) return { contestant, one, other, target: '192.168.77.2', engines: [] }
  const ends = [await endOf(one, number, 1), await endOf(other, number, 2)] as const
  const engines = ends.map(({ space, device }) => world.spawn(space, [...(contestant.command ?? []), device]))
  const words = engines.map(saidBy)
  try {
    await Promise.all([configure(ends[0], ends[1]), configure(ends[1], ends[0])])
  } catch (cause) {
    throw new Error(`${contestant.name} did not start: ${words.map((said) => said()).join('')}`, { cause })
  }
  await one.sh('ping -c 2 -i 0.2 -W 5 10.99.0.2')
  return { contestant, one, other, target: '10.99.0.2', engines }
}

async function endOf(space: TestNetns, number: number, own: number): Promise<End> {
  const privateKey = await must(['wg', 'genkey'])
  const publicKey = await must(['wg', 'pubkey'], { input: privateKey })
  return { space, device: `dt${process.pid}x${number}${own}`, own, privateKey, publicKey }
}

async function configure(end: End, peer: End): Promise<void> {
  const { space, device, own, privateKey } = end
  await until(`${device} answers`, () =>
    must(['wg', 'show', device]).then(
      () => true,
      () => false,
    ),
  )
  const lines = [
    '[Interface]',
    `PrivateKey = ${privateKey}`,
    `ListenPort = ${port}`,
    '[Peer]',
    `PublicKey = ${peer.publicKey}`,
    `Endpoint = 192.168.77.${peer.own}:${port}`,
    `AllowedIPs = 10.99.0.${peer.own}/32`,
    '',
  ]
  // wg opens the file by its path, which a socket does not allow and a pipe does.
  await must(['sh', '-c', 'cat | wg setconf "$0" /dev/stdin', device], { input: lines.join('\n') })
  await space.sh(`ip addr add 10.99.0.${own}/24 dev ${device}`)
  await space.sh(`ip link set dev ${device} up mtu 1420`)
}

/** Drains what a program says, so that it never blocks on it; gives what it said so far. */
function saidBy(child: ChildProcess): () => string {
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk) => {
      text = (text + String(chunk)).slice(-2000)
    })
  return () => text
}

/** Sockets that killed engines leave behind. */
export function removeSockets(): void {
  const folder = '/var/run/wireguard'
  for (const name of existsSync(folder) ? readdirSync(folder) : [])
    if (name.startsWith(`dt${process.pid}x`)) rmSync(`${folder}/${name}`, { force: true })
}

/** Seconds of CPU that the engines of a pair have used. */
export function cpuSeconds({ engines }: Pair): number {
  const ticks = engines.map(({ pid }) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return Number(fields[11]) + Number(fields[12])
  })
  return ticks.reduce((sum, one) => sum + one, 0) / 100
}

/** The larger engine's resident memory, in MiB. */
export function memory({ engines }: Pair): number {
  return Math.max(0, ...engines.map(({ pid }) => residentMemory(pid ?? 0) / 1024))
}
