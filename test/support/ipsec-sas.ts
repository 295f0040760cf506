/**
 * What charon of a test's host says of its SAs, and the states that tests wait for.
 */
import type { Test } from 'tap'
import { type IkeSa, ikeSasIn } from '../../tunnel/ipsec/sas.ts'
import { type IpsecHost, IpsecWorld, peerOf, pings } from './ipsec-hosts.ts'
import { type Capture, until } from './netns.ts'

export async function sasOf(host: IpsecHost): Promise<readonly IkeSa[]> {
  const vici = await host.vici()
  try {
    return ikeSasIn(await vici.list('list-sas'))
  } finally {
    vici.close()
  }
}

/** Numbers of the IKE SAs and, after a colon, of their children, without those that are on their way out. */
export async function standing(host: IpsecHost): Promise<string> {
  const sas = (await sasOf(host)).filter(({ state }) => state === 'ESTABLISHED')
  const numbers = ({ children }: IkeSa) =>
    children.filter(({ state }) => state === 'INSTALLED').map(({ id }) => id)
  return sas.map((sa) => `${sa.id}:${numbers(sa)}`).join(' ')
}

export const isSingle = async (host: IpsecHost): Promise<boolean> => /^\d+:\d+$/.test(await standing(host))

export const meet = (one: IpsecHost, two: IpsecHost) =>
  Promise.all([one.backend.apply([peerOf(two)]), two.backend.apply([peerOf(one)])])

export const carried = (from: IpsecHost, to: IpsecHost) =>
  until(`a ping from ${from.number} to ${to.number}`, () => pings(from, to), 60_000)

/**
 * Two hosts that carry each other's packets by userspace ESP, and what leaves the first in clear meanwhile; all of it
 * ends with the test.
 */
export async function pair(t: Test): Promise<readonly [IpsecHost, IpsecHost, Capture]> {
  const world = await IpsecWorld.open()
  t.teardown(() => world.close())
  const one = await world.host({ number: 1, esp: 'userspace' })
  const two = await world.host({ number: 2, esp: 'userspace' })
  const clear = await world.netns.capture(one.space, 'eth0', 'net 10.42.0.0/16')
  await Promise.all([one.start(), two.start()])
  await meet(one, two)
  await again(one, two)
  return [one, two, clear]
}

/** Both carry, through the device that charon has now. */
export async function again(one: IpsecHost, two: IpsecHost): Promise<void> {
  await Promise.all([routed(one, two), routed(two, one)])
  await Promise.all([carried(one, two), carried(two, one)])
}

/** As the daemon does it when charon is up. */
const routed = (host: IpsecHost, { block }: IpsecHost): Promise<boolean> =>
  until('a route', async () => {
    const { device, managed, space } = host
    if (device === undefined) return false
    const route = ['ip', 'route', 'replace', block, 'dev', device, 'src', managed]
    return (await space.runner.attempt(route)).status === 0
  })
