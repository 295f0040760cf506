/** What hosts do to each other in the store: second blocks, records nobody can read, requests, the blocks of the dead. */
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'tap'
import { Claims } from '../../ipam/claims.ts'
import { utf8 } from '../../model/bytes.ts'
import { type Cidr, parseCidr, parseIpv4 } from '../../model/ip.ts'
import { SeededRandom } from '../support/ports.ts'
import { grace, type ModelHost } from './model-host.ts'
import { keys, plainSealer } from './shared-store.ts'
import { World } from './world.ts'

const net = (text: string): Cidr => parseCidr(text) ?? raise(text)
const raise = (text: string): never => {
  throw new TypeError(text)
}

async function rounds(world: World, count: number, hosts: readonly ModelHost[] = world.hosts): Promise<void> {
  for (let round = 0; round < count; round++) {
    world.pass(1000)
    for (const host of hosts) host.live()
    for (let turns = 0; turns < 3; turns++) await turn()
  }
}

/** Less than a second in which everybody sees what the others write. */
async function looks(world: World): Promise<void> {
  for (let round = 0; round < 16; round++) {
    world.pass(20)
    for (const host of world.hosts) host.look()
    for (let turns = 0; turns < 3; turns++) await turn()
  }
}

function worldOf(hosts: number): World {
  const world = new World(new SeededRandom(7), hosts)
  for (const host of world.hosts) host.link = 'at once'
  return world
}

const blocksOf = (host: ModelHost | undefined): readonly string[] => host?.allocator.status().blocks ?? []

test('a second block before the first is full, and back when it is empty', async (t) => {
  const world = worldOf(1)
  await rounds(world, 3)
  const [one = raise('no host')] = world.hosts
  t.strictSame(blocksOf(one), ['10.42.0.0/28'])
  const ids = Array.from({ length: 20 }, () => world.containerId())
  for (const id of ids) {
    t.match(await one.allocator.allocate(id), { is: 'address' })
    await rounds(world, 1)
  }
  t.strictSame(blocksOf(one), ['10.42.0.0/28', '10.42.0.16/28'])
  for (const id of ids) one.allocator.removed(id)
  await rounds(world, 9)
  t.strictSame(blocksOf(one), ['10.42.0.0/28'])
  t.strictSame(world.problems(), [])
})

test('a block whose record nobody can read belongs to nobody and is not touched', async (t) => {
  const world = worldOf(1)
  const key = keys.block(net('10.42.0.0/28'))
  const pin = keys.pin(parseIpv4('10.42.0.90') ?? raise('address'))
  for (const garbage of [key, pin]) world.shared.transact([], [{ is: 'put', key: garbage, value: utf8('{') }])
  await rounds(world, 4)
  const [one = raise('no host')] = world.hosts
  t.equal(blocksOf(one).length, 1, 'another block is claimed')
  t.notOk(blocksOf(one).includes('10.42.0.0/28'))
  const answers = ['10.42.0.5', '10.42.0.90'].map((text) =>
    one.allocator.allocate(world.containerId(), [text]),
  )
  await rounds(world, 4)
  for (const answer of answers)
    t.match(await answer, { is: 'address', problem: /is taken by an unreadable record/ })
  t.ok(world.shared.entries.has(key) && world.shared.entries.has(pin))
})

test("an address of another host's block is refused when somebody has it", async (t) => {
  const world = worldOf(2)
  await rounds(world, 4)
  const [one = raise('no host'), other = raise('no host')] = world.hosts
  const inside = await one.allocator.allocate(world.containerId(), ['10.42.0.9'])
  t.match(inside, { is: 'address', address: parseIpv4('10.42.0.9') })
  const answer = other.allocator.allocate(world.containerId(), ['10.42.0.9', '10.42.0.10'])
  await turn()
  await looks(world)
  t.match(await answer, { is: 'address', address: parseIpv4('10.42.0.10') }, 'the next one of the list')
  const again = other.allocator.allocate(world.containerId(), ['10.42.0.9'])
  await turn()
  await looks(world)
  t.match(await again, {
    is: 'address',
    problem: /which has refused it/,
  })
  t.strictSame(world.problems(), [])
})

test('the blocks of a dead host come back after the grace, and it knows when it returns', async (t) => {
  const world = worldOf(2)
  await rounds(world, 4)
  const [one = raise('no host'), other = raise('no host')] = world.hosts
  const [block = raise('no block')] = blocksOf(other)
  const id = world.containerId()
  const answer = await other.allocator.allocate(id)
  const attached = answer.is === 'address' ? answer.address : raise(answer.why)
  other.containers.set(id, { id, state: 'running', attached })
  other.sleep()
  await rounds(world, grace / 1000 + 5, [one])
  t.ok(world.shared.entries.has(keys.block(net(block))), 'not before the lease and the whole grace')
  await rounds(world, 8, [one])
  t.notOk(world.shared.entries.has(keys.block(net(block))))
  other.wake()
  t.match(await other.allocator.allocate(world.containerId()), { is: 'waiting', why: /away from the store/ })
  await rounds(world, 4)
  t.equal(other.containers.get(id)?.attached, undefined, 'its container was detached')
  t.match(await other.allocator.allocate(id), { is: 'address' }, 'and gets another address')
  t.strictSame(world.problems(), [])
})

test('a claim that changes hands between reading and taking back stays', async (t) => {
  const world = worldOf(2)
  await rounds(world, 4)
  const [one = raise('no host'), other = raise('no host')] = world.hosts
  const [block = raise('no block')] = blocksOf(other)
  const key = keys.block(net(block))
  const found = world.shared.entries.get(key) ?? raise('no claim')
  const claims = new Claims({ store: one.process.door, sealer: plainSealer }, { keys, self: one.id })
  world.shared.transact([], [{ is: 'delete', key: keys.alive(other.id) }])
  const late = claims.takeBack(key, other.id, () => {
    world.shared.transact([], [{ is: 'put', key, value: found.value }])
    return true
  })
  t.notOk(await late, 'somebody wrote it meanwhile')
  t.notOk(await claims.takeBack(key, other.id, () => false), 'this host slept over the answer')
  t.ok(world.shared.entries.has(key))
  t.ok(await claims.takeBack(key, other.id, () => true))
  t.notOk(world.shared.entries.has(key))
})
