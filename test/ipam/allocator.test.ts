/** The allocator and its pure parts, one rule at a time; what random worlds find is in model.test.ts. */
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'tap'
import { noPinInside } from '../../ipam/exclusion.ts'
import { blockAround, spaceOf } from '../../ipam/space.ts'
import { type Ipv4, ipv4At, parseCidr, parseIpv4 } from '../../model/ip.ts'
import { keysOf } from '../../model/keys.ts'
import { seconds } from '../../model/time.ts'
import { SeededRandom } from '../support/ports.ts'
import type { ModelHost } from './model-host.ts'
import { World } from './world.ts'

const ip = (text: string): Ipv4 => parseIpv4(text) ?? raise(text)
const raise = (text: string): never => {
  throw new TypeError(text)
}

async function worldOf(hosts: number): Promise<{ world: World; one: ModelHost; other: ModelHost }> {
  const world = new World(new SeededRandom(7), hosts)
  for (const host of world.hosts) host.link = 'at once'
  for (let round = 0; round < 4; round++) {
    for (const host of world.hosts) host.live()
    await turn()
  }
  const [one, other = one] = world.hosts
  return one === undefined || other === undefined ? raise('no hosts') : { world, one, other }
}

const ask = (host: ModelHost, world: World, requested: readonly string[] = []) =>
  host.allocator.allocate(world.containerId(), requested)

test('conditions cover exactly the addresses of a block', async (t) => {
  const keys = keysOf('x')
  for (const bits of [22, 24, 25, 26, 28, 30]) {
    const space = spaceOf({ subnet: parseCidr('10.42.0.0/16') ?? raise('subnet'), blockBits: bits })
    for (let at = 0; at < 65_536; at += 977) {
      const block = blockAround(space, ipv4At(space.first, at))
      const conditions = noPinInside(keys, block)
      t.ok(bits === 25 || conditions.length <= 100)
      for (const step of [0, 1, 2, 63, 64, 255, 977, 30_000]) {
        const address = ipv4At(space.first, (at + step) % 65_536)
        const key = keys.pin(address)
        const excluded = conditions.some((one) =>
          one.is === 'empty' ? key.startsWith(one.prefix) : one.key === key,
        )
        if (excluded !== (blockAround(space, address) === block)) t.fail(`${key} and ${block}`)
      }
    }
  }
})

test('the host has the first usable address, containers keep theirs over stop and kill -9', async (t) => {
  const { world, one } = await worldOf(1)
  t.equal(one.allocator.managed(), ip('10.42.0.1'))
  const id = world.containerId()
  const first = await one.allocator.allocate(id)
  one.allocator.stopped(id)
  one.restart()
  one.link = 'cut'
  t.strictSame(await one.allocator.allocate(id), first, 'from the ledger, without the store')
  t.match(await ask(one, world), { is: 'address' }, 'and new ones from its own block')
})

test('the view that holds the alive key may come before the answer to the renewal', async (t) => {
  const answerAfter = async (then: (host: ModelHost, world: World) => void) => {
    const world = new World(new SeededRandom(7), 1)
    const [host] = world.hosts
    if (host === undefined) return raise('no hosts')
    host.link = 'at once'
    const sent = host.allocator.stamp()
    const revision = world.shared.renew(host.id, world.now)
    host.look()
    t.match(await ask(host, world), { is: 'waiting' })
    then(host, world)
    host.allocator.renewed(sent, revision)
    const { open } = host.allocator.status()
    return { open, ...(await ask(host, world)) }
  }
  t.match(await answerAfter(() => undefined), { open: true, is: 'address' }, 'with no other view')
  const goesStale = ({ allocator }: ModelHost, world: World) => void allocator.observe(world.view(), false)
  t.match(
    await answerAfter(goesStale),
    { open: false, is: 'waiting' },
    'but not with one that is no longer fresh',
  )
})

test('requested addresses', async (t) => {
  const { world, one, other } = await worldOf(2)
  t.strictSame(await ask(one, world, ['10.42.0.9']), { is: 'address', address: ip('10.42.0.9') })
  t.match(await ask(one, world, ['10.42.0.9']), { is: 'address', problem: /10\.42\.0\.9 is taken/ })
  for (const [text, why] of [
    ['x', /not an IPv4/],
    ['10.43.0.1', /outside/],
    ['10.42.0.0', /end of the subnet/],
    ['10.42.0.1', /own address/],
  ] as const)
    t.match(await ask(one, world, [text]), { is: 'address', problem: why })
  const pinned = await ask(one, world, ['10.42.0.100'])
  t.match(pinned, { is: 'address', address: ip('10.42.0.100') }, 'in space that nobody owns')
  t.match(await ask(other, world, ['10.42.0.100']), { problem: /is taken by host/ })
  const inside = ask(other, world, ['10.42.0.8'])
  for (let round = 0; round < 4; round++) {
    await turn()
    for (const host of world.hosts) host.look()
  }
  t.match(await inside, { is: 'address', address: ip('10.42.0.8') }, "granted by the block's owner")
  const silent = ask(other, world, ['10.42.0.7'])
  await turn()
  world.pass(1600)
  t.match(await silent, { is: 'address', problem: /which has not answered/ }, 'within two seconds')
})

test('a full subnet says so, an address rests, and the longest stopped gives way', async (t) => {
  const { world, one } = await worldOf(1)
  const allocator = one.allocator
  const ids = []
  for (let count = 0; count < 125; count++) {
    const id = world.containerId()
    const answer = await allocator.allocate(id)
    if (answer.is !== 'address') t.fail(`${count}: ${answer.why}`)
    ids.push(id)
    one.live()
    await turn()
  }
  t.match(await ask(one, world), { is: 'refused', why: /no address is free/ })
  const [first, second] = ids
  if (first === undefined || second === undefined) return
  allocator.removed(first)
  t.match(await ask(one, world), { is: 'waiting', why: /rest/ })
  world.pass(seconds(6))
  one.live()
  await turn()
  t.match(await ask(one, world), { is: 'address' })
  const old = allocator.addressOf(second)
  allocator.stopped(second)
  world.pass(seconds(6))
  one.live()
  t.match(await ask(one, world), { is: 'address', address: old })
})

test('a store that hangs costs no answer', async (t) => {
  const { world, one } = await worldOf(1)
  one.link = 'loses everything'
  const answer = ask(one, world, ['10.42.0.90'])
  await turn()
  world.pass(1900)
  t.match(await answer, { is: 'waiting' })
})
