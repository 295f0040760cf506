/**
 * Faults on the underlay, made in the bridge's namespace: what is cut, lost or blocked there looks to the hosts
 * like a fault of the network between them. `heal` takes all of them away from one port.
 */
import { DroverError } from '../model/errors.ts'
import { must, run } from './command.ts'
import { isNamespaceOf, type LabPlace } from './layout.ts'

/** A host's name, or `store`. */
export type Port = string

const table = (port: Port): string => `fault_${port}`

/** What the port sends, and what it gets. */
const bothWays = ['iifname', 'oifname'] as const

async function rules(
  lab: LabPlace,
  port: Port,
  verdicts: readonly string[],
  ways: readonly (typeof bothWays)[number][] = bothWays,
): Promise<void> {
  const lines = verdicts.flatMap((verdict) =>
    ways.map((way) => `add rule bridge ${table(port)} forward ${way} "${port}" ${verdict}`),
  )
  const input = [
    `add table bridge ${table(port)}`,
    `add chain bridge ${table(port)} forward { type filter hook forward priority 0; }`,
    ...lines,
  ].join('\n')
  await must(['nft', '-f', '-'], { namespace: lab.bridge, input: `${input}\n` })
}

export const cut = (lab: LabPlace, port: Port): Promise<void> => rules(lab, port, ['drop'])

/** Drops a share of the packets, in percent, in each direction. */
export const lose = (lab: LabPlace, port: Port, percent: number): Promise<void> =>
  percent >= 100
    ? cut(lab, port)
    : rules(lab, port, [`numgen random mod 1000 < ${Math.round(percent * 10)} drop`])

/** IKE, and IKE with ESP in UDP (RFC 3947). */
export const ipsecPorts = [500, 4500] as const

const dropped = (udpPorts: readonly number[]): string => `udp dport { ${udpPorts.join(', ')} } drop`

export const block = (lab: LabPlace, port: Port, udpPorts: readonly number[]): Promise<void> =>
  rules(lab, port, [dropped(udpPorts)])

/** Of what the port sends alone: what others send to it arrives. */
export const blockSent = (lab: LabPlace, port: Port, udpPorts: readonly number[]): Promise<void> =>
  rules(lab, port, [dropped(udpPorts)], ['iifname'])

/** A path that swallows larger packets without a word. */
export const shrink = async (lab: LabPlace, port: Port, mtu: number): Promise<void> => {
  await singly(lab)
  await rules(lab, port, [`meta length > ${mtu} drop`])
}

/**
 * Has every host send segment by segment from now on: runs of them would reach the bridge as one packet, whose
 * length says nothing of what a real hop would see.
 */
async function singly(lab: LabPlace): Promise<void> {
  const { stdout } = await run(['ip', 'netns', 'list'])
  const names = stdout.split('\n').map((line) => line.split(' ')[0] ?? '')
  const hosts = names.filter((name) => isNamespaceOf(lab.name, name) && name !== lab.bridge)
  await Promise.all(hosts.map((name) => must(['ip', '-n', name, 'link', 'set', 'eth0', 'gso_max_segs', '1'])))
}

/** Delays what the port gets; a kernel without netem cannot. */
export async function delayPackets(lab: LabPlace, port: Port, milliseconds: number): Promise<void> {
  const argv = ['tc', '-n', lab.bridge, 'qdisc', 'replace', 'dev', port, 'root', 'netem', 'delay']
  const { code, stderr } = await run([...argv, `${milliseconds}ms`])
  if (code !== 0)
    throw new DroverError('SYSTEM_MISSING', `the kernel cannot delay packets (${stderr.trim()})`)
}

export async function heal(lab: LabPlace, port: Port): Promise<void> {
  await run(['nft', 'delete', 'table', 'bridge', table(port)], { namespace: lab.bridge })
  await run(['tc', '-n', lab.bridge, 'qdisc', 'del', 'dev', port, 'root'])
}
