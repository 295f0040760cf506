/**
 * What changes while SAs live, with real charons under a ping: keys, certificates, the CA, the address of a host. A
 * rekeying loses nothing, and neither does what charon is told anew.
 */
import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import tap, { type Test, test } from 'tap'
import type { Cidr } from '../../../model/ip.ts'
import { instant } from '../../../model/time.ts'
import { rollAuthority } from '../../../pki/authority.ts'
import { childName, connectionOf, hasIpsec } from '../../../tunnel/ipsec/connections.ts'
import type { IfId } from '../../../tunnel/ipsec/if-id.ts'
import type { ViciSection } from '../../../tunnel/ipsec/vici-message.ts'
import { environmentName, type IpsecHost, needsIpsec, peerOf } from '../../support/ipsec-hosts.ts'
import { again, isSingle, pair, sasOf, standing } from '../../support/ipsec-sas.ts'
import { Pinger } from '../../support/lab.ts'
import { until } from '../../support/netns.ts'

tap.setTimeout(240_000)

/** Keys that live for seconds; what must not live any more has long to go, however slow the machine is. */
const shortly = { over_time: '1m', rand_time: '0s' }

/** The connection that the daemon loads, with other lifetimes. */
function shortLived(host: IpsecHost, other: IpsecHost): ViciSection {
  const self = { host: host.identity.id, environment: environmentName, esp: 'userspace', port: 4500 } as const
  const peer = peerOf(other)
  if (!hasIpsec(peer)) throw new TypeError('a peer of the test has IPsec')
  const made = connectionOf({ ...self, subnet: '10.42.0.0/16' as Cidr }, peer, 1 as IfId)
  const [child] = Object.values(made.children as ViciSection) as ViciSection[]
  const net = { ...child, rekey_time: '2s', rand_time: '0s', life_time: '1m' }
  return { ...made, ...shortly, rekey_time: '5s', children: { [childName]: net } }
}

/** Pings all the while; how many were lost. */
async function lostDuring(one: IpsecHost, two: IpsecHost, act: () => Promise<unknown>): Promise<number> {
  const pinger = await Pinger.start(one.space.path, two.managed, 0.02)
  await act()
  const { replies } = pinger
  await until('replies after it', () => pinger.replies > replies + 10)
  const { sent, received } = await pinger.stop()
  return sent - received
}

const fingerprint = (certificate: string | Buffer): string => new X509Certificate(certificate).fingerprint256

test('keys change every few seconds: nothing is lost', needsIpsec, async (t: Test) => {
  const [one, two, clear] = await pair(t)
  for (const [host, other] of [
    [one, two],
    [two, one],
  ] as const) {
    const vici = await host.vici()
    await vici.request('load-conn', { [other.identity.id]: shortLived(host, other) })
    await vici.request('terminate', { ike: other.identity.id, timeout: '5000' }).catch(() => undefined)
    vici.close()
  }
  await again(one, two)
  await until('one SA', async () => (await isSingle(one)) && (await isSingle(two)), 60_000)
  const vici = await one.vici()
  t.teardown(() => vici.close())
  const heard: string[] = []
  await vici.subscribe(['ike-rekey', 'child-rekey'], (name) => heard.push(name))
  const count = (name: string): number => heard.filter((one) => one === name).length
  const lost = await lostDuring(one, two, () =>
    until(
      'rekeyings',
      async () => {
        await Promise.all([one.backend.tend(), two.backend.tend()])
        return count('ike-rekey') >= 2 && count('child-rekey') >= 4
      },
      60_000,
    ),
  )
  t.comment(`${count('ike-rekey')} IKE SAs and ${count('child-rekey')} children were rekeyed`)
  t.equal(lost, 0)
  t.same(await clear.lines(), [], 'nothing in clear')
})

test('a renewed certificate and another CA touch no SA', needsIpsec, async (t: Test) => {
  const [one, two] = await pair(t)
  await until('one SA', async () => (await isSingle(one)) && (await isSingle(two)), 60_000)
  const before = await standing(one)
  const now = instant(Date.now())
  const both = async (change: (host: IpsecHost) => void) => {
    for (const host of [one, two]) {
      change(host)
      await host.backend.tend()
    }
  }
  const renewed = (by: typeof one.authority) => (host: IpsecHost) => {
    host.certificate = by.issueHost(host.identity.id, host.identity.signingKey, now).pem
  }
  const lost = await lostDuring(one, two, async () => {
    await both(renewed(one.authority))
    const next = rollAuthority(join(one.folder, '../ca'), { passphrase: undefined, now })
    await both((host) => {
      host.authorities = [next.certificate, ...host.authorities]
    })
    await both(renewed(next))
    await both((host) => {
      host.authorities = [next.certificate]
    })
  })
  t.equal(lost, 0)
  t.equal(await standing(one), before, 'the same SA')

  const vici = await one.vici()
  t.teardown(() => vici.close())
  await vici.request('terminate', { ike: two.identity.id, timeout: '5000' })
  await until('another SA', async () => !['', before].includes(await standing(one)), 30_000)
  await again(one, two)
  t.same((await one.backend.status()).problems, [])
  const listed = await vici.list('list-certs', { type: 'X509' })
  const held = listed.filter(({ flag, has_privkey }) => flag === 'CA' || has_privkey === 'yes')
  const wanted = [one.certificate, ...one.authorities.map(({ pem }) => pem)].map(fingerprint)
  const found = held.map(({ data }) => fingerprint(Buffer.from(String(data), 'latin1')))
  t.same(found.sort(), wanted.sort(), 'by the new certificates and the new CA alone')
})

test('the address of a host changes: the SA goes on', needsIpsec, async (t: Test) => {
  const [one, two] = await pair(t)
  await until('one SA', async () => (await isSingle(one)) && (await isSingle(two)), 60_000)
  const before = (await sasOf(one)).map(({ id }) => id)
  await two.space.sh('ip addr add 192.168.77.22/24 dev eth0')
  await two.space.sh('ip addr del 192.168.77.2/24 dev eth0')
  // Deleting the first address of the subnet takes the others with it.
  await two.space.sh('ip addr replace 192.168.77.22/24 dev eth0')
  await until(
    'the peer to see it',
    async () => (await sasOf(one)).some(({ endpoint }) => endpoint === '192.168.77.22:4500'),
    30_000,
  )
  await again(one, two)
  t.same(
    (await sasOf(one)).map(({ id }) => id),
    before,
    'the same SA; charon makes a child anew that it encrypts for itself',
  )
  await one.backend.apply([peerOf(two, { endpoint: { address: '192.168.77.22', port: 51_820 } })])
  await one.backend.tend()
  await again(one, two)
  t.same(
    (await sasOf(one)).map(({ id }) => id),
    before,
    'also when its record says so',
  )
})
