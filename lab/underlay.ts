/**
 * The network below the lab: a namespace per host and one for the store, each with `eth0` on a bridge in a
 * namespace of its own. Nothing of it is reachable from the machine's own namespace.
 */
import { must } from './command.ts'
import { type LabPlace, storeAddress, underlayBits } from './layout.ts'

const batch = (namespace: string, lines: readonly string[]): Promise<string> =>
  must(['ip', '-n', namespace, '-batch', '-'], { input: `${lines.join('\n')}\n` })

/** A namespace with lo and eth0; its end on the bridge is called `port`. */
async function plug(
  lab: LabPlace,
  namespace: string,
  port: string,
  addresses: readonly string[],
): Promise<void> {
  await must(['ip', 'netns', 'add', namespace])
  await must([
    'ip',
    '-n',
    lab.bridge,
    'link',
    'add',
    port,
    'type',
    'veth',
    'peer',
    'eth0',
    'netns',
    namespace,
  ])
  await batch(lab.bridge, [`link set ${port} master br0 up`])
  await batch(namespace, [
    'link set lo up',
    ...addresses.map((address) => `address add ${address}/${underlayBits} dev eth0`),
    'link set eth0 up',
  ])
}

export async function makeBridge(lab: LabPlace): Promise<void> {
  await must(['ip', 'netns', 'add', lab.bridge])
  await batch(lab.bridge, [
    'link set lo up',
    'link add br0 type bridge forward_delay 0 stp_state 0',
    'link set br0 up',
  ])
}

export const plugHost = (lab: LabPlace, number: number): Promise<void> => {
  const { name, namespace, underlay } = lab.host(number)
  return plug(lab, namespace, name, [underlay])
}

export const plugStore = (lab: LabPlace, members: number): Promise<void> =>
  plug(
    lab,
    lab.store,
    'store',
    Array.from({ length: members }, (_, at) => storeAddress(at + 1)),
  )
