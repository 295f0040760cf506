/**
 * What charon of a test's host says of its SAs, and the states that tests wait for.
 */
import { type IkeSa, ikeSasIn } from '../../tunnel/ipsec/sas.ts'
import { type IpsecHost, peerOf, pings } from './ipsec-hosts.ts'
import { until } from './netns.ts'

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
