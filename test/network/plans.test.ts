/** The pure parts of network/: host plan, names, resolv.conf, overlap. */
import { test } from 'tap'
import { type Cidr, parseCidr } from '../../model/ip.ts'
import type { ContainerId } from '../../model/records.ts'
import { bridgesOf, hostPlan, routesOf, signatureOf } from '../../network/host-plan.ts'
import { noIpsec } from '../../network/ipsec-plan.ts'
import { aliasOf, networkNames, tagOf, vethName } from '../../network/names.ts'
import { occupiedOf, overlapOf, overlapText } from '../../network/overlap.ts'
import { editedResolvConf, type ResolvWish, restoredResolvConf, searchOf } from '../../network/resolv-conf.ts'
import { SeededRandom } from '../support/ports.ts'
import { environmentOf, hostIdOf, ip } from '../support/snapshots.ts'

const cidr = (text: string): Cidr => parseCidr(text) ?? ('' as Cidr)
const claimOf = (host: number, confirmed = true) => ({
  host: hostIdOf(host),
  epoch: 1,
  container: null,
  confirmed,
})

test('the host plan routes what others hold, and nothing that is not of the subnet', async (t) => {
  const environment = {
    ...environmentOf({ self: hostIdOf(1) }),
    blocks: new Map([
      [cidr('10.42.1.0/26'), claimOf(1)],
      [cidr('10.42.2.0/26'), claimOf(2)],
      [cidr('8.8.8.0/26'), claimOf(2)],
      [cidr('10.0.0.0/8'), claimOf(2)],
    ]),
    pins: new Map([
      [ip('10.42.9.9'), claimOf(2)],
      [ip('10.42.9.10'), claimOf(2, false)],
      [ip('10.42.2.5'), claimOf(1)],
    ]),
  }
  t.same(routesOf(environment), [
    { to: '10.42.2.0/26', host: hostIdOf(2) },
    { to: '10.42.9.9/32', host: hostIdOf(2) },
  ])
  const options = {
    names: networkNames('default'),
    tunnel: { name: 'drover0', mtu: 1380 },
    servers: { address: ip('169.254.169.250'), dnsPort: 10053, metadataPort: 10080 },
    askers: { others: [], guests: [] },
    bridges: bridgesOf([{ id: 'abcdef0123456789', name: 'shop', subnets: [], endpoints: [] }]),
    ipsec: noIpsec,
    pathMtus: new Map([[hostIdOf(2), 1232]]),
  }
  const plan = hostPlan(environment, options)
  t.same(plan.addresses, [ip('10.42.1.1'), ip('169.254.169.250')])
  t.same(
    [...plan.mtus],
    [
      ['10.42.2.0/26', 1232],
      ['10.42.9.9/32', 1232],
    ],
  )
  t.not(signatureOf(plan), signatureOf(hostPlan(environment, { ...options, pathMtus: new Map() })))
  t.same(plan.elements.get('bridges'), ['docker0', 'docker_gwbridge', 'br-abcdef012345'])
  t.equal(signatureOf(plan), signatureOf(hostPlan({ ...environment, revision: 9 }, options)))
  t.not(signatureOf(plan), signatureOf(hostPlan({ ...environment, pins: new Map() }, options)))
  const other = { ...options, servers: { ...options.servers, dnsPort: 10054 } }
  t.not(signatureOf(plan), signatureOf(hostPlan(environment, other)))
})

test('names fit the kernel and are found again', async (t) => {
  const id = 'ab'.repeat(32) as ContainerId
  const tag = { container: id, inode: 4026532678, address: ip('10.42.0.5'), outward: true }
  for (const environment of ['default', 'test', 'a/b c', 'x'.repeat(200)]) {
    const names = networkNames(environment)
    t.ok(vethName(names, id, tag.inode).length <= 15)
    t.ok(names.label.length <= 15)
    t.match(names.table, /^drover_[A-Za-z0-9_]{1,50}$/)
    t.ok(aliasOf(names, tag).length < 256)
    t.same(tagOf(names, aliasOf(names, tag)), tag)
    t.equal(tagOf(networkNames('another'), aliasOf(names, tag)), undefined)
  }
  t.not(networkNames('a/b').table, networkNames('a_b').table)
  t.not(vethName(networkNames('default'), id, 1), vethName(networkNames('default'), id, 2))
})

const wish = (given: Partial<ResolvWish> = {}): ResolvWish => ({
  nameserver: ip('169.254.169.250'),
  search: searchOf({ stack: 'shop', service: 'web' }, 'rancher.internal'),
  priority: 'first',
  ...given,
})

/** What a resolver makes of it. */
const meaning = (text: string) => {
  const lines = text.split('\n').filter((line) => !line.startsWith('#'))
  const of = (key: string) => lines.filter((line) => line.trimStart().startsWith(`${key} `))
  return { nameserver: of('nameserver'), search: of('search').at(-1), options: of('options') }
}

test('resolv.conf', async (t) => {
  const original =
    'domain lan\nnameserver 8.8.8.8\nnameserver 127.0.0.11\nsearch foo.com bar\noptions ndots:0\n'
  const ours = 'web.shop.rancher.internal shop.rancher.internal rancher.internal'
  t.same(meaning(editedResolvConf(original, wish())), {
    nameserver: ['nameserver 169.254.169.250'],
    search: `search ${ours} foo.com bar`,
    options: ['options ndots:0'],
  })
  t.equal(
    meaning(editedResolvConf(original, wish({ priority: 'last' }))).search,
    `search foo.com bar ${ours}`,
  )
  t.equal(
    meaning(editedResolvConf(original, wish({ priority: 'none' }))).search,
    'search rancher.internal foo.com bar',
  )
  t.equal(meaning(editedResolvConf('search .\n', wish())).search, `search ${ours}`)
  t.same(searchOf({ stack: null, service: null }, 'x'), ['x'])
  t.equal(restoredResolvConf(original), original)
})

test('resolv.conf of any shape: twice is once, and back is back', async (t) => {
  const random = new SeededRandom(7)
  const parts = ['nameserver 1.1.1.1', '\tsearch a b', 'domain x', '# note', 'options a', '', ';', '\r', ' ']
  for (let round = 0; round < 500; round += 1) {
    const text = Array.from({ length: random.below(8) }, () => parts[random.below(parts.length)]).join('\n')
    const edited = editedResolvConf(text, wish())
    if (editedResolvConf(edited, wish()) !== edited) t.fail(JSON.stringify(text))
    const other = editedResolvConf(edited, wish({ priority: 'last', search: ['q'] }))
    if (restoredResolvConf(other) !== text) t.fail(JSON.stringify(text))
    if (meaning(edited).nameserver.length !== 1) t.fail(JSON.stringify(text))
  }
})

test('a taken subnet is named with a free one', async (t) => {
  const link = { kind: '', ifId: undefined, index: 1, up: true, carrier: true, mtu: 1500, mac: '', alias: '' }
  const address = (text: string, bits: number, label = '') => ({ address: ip(text), bits, label })
  const links = [
    { ...link, name: 'eth0', addresses: [address('192.0.2.2', 24)] },
    { ...link, name: 'lo', addresses: [address('10.42.0.1', 32, 'lo:dr')] },
  ]
  const route = {
    type: 'unicast',
    device: 'cni0',
    source: undefined,
    metric: 0,
    protocol: 'kernel',
    mtu: undefined,
  }
  const network = { id: 'a', name: 'shop', subnets: ['10.43.0.0/16', 'fd00::/64'], endpoints: [] }
  const wanted = cidr('10.42.0.0/16')
  t.equal(
    overlapOf(wanted, occupiedOf(links, [{ ...route, to: 'default' }], [])),
    undefined,
    'our own is free',
  )
  const ours = { ...route, to: wanted, protocol: '208', type: 'unreachable' }
  t.equal(overlapOf(wanted, occupiedOf(links, [ours], [])), undefined)
  const occupied = occupiedOf(links, [{ ...route, to: cidr('10.42.7.0/24') }], [network])
  const found = overlapOf(wanted, occupied)
  t.match(found, { by: 'route by cni0', cidr: '10.42.7.0/24', free: '10.44.0.0/16' })
  if (found !== undefined)
    t.match(overlapText(wanted, found), /route by cni0.*--subnet 10.44.0.0\/16 is free/)
  t.match(overlapOf(cidr('10.43.1.0/24'), occupied), { by: 'Docker network shop', free: '10.42.0.0/24' })
  t.equal(overlapOf(cidr('10.0.0.0/8'), occupied)?.free, undefined)
})
