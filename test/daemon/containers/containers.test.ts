/**
 * Containers settling: addresses kept, namespaces shared, failures retried; a network and an allocator that
 * remember what they were asked stand for the machine.
 */
import { type Test, test } from 'tap'
import {
  type Addresses,
  type Attacher,
  type AttachTarget,
  Containers,
  type Grant,
} from '../../../daemon/containers/containers.ts'
import { wishOf } from '../../../docker/labels.ts'
import type { EngineContainer, NetworkMode } from '../../../model/engine.ts'
import { type Ipv4, ipv4At } from '../../../model/ip.ts'
import type { ContainerId } from '../../../model/records.ts'
import { instant, seconds } from '../../../model/time.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../../support/ports.ts'
import { containerId, ip } from '../../support/records.ts'

const hostInode = 1

function engineContainer(name: string, over: Partial<EngineContainer> = {}): EngineContainer {
  return {
    id: containerId(name),
    name,
    hostname: name,
    image: 'busybox',
    labels: { 'io.rancher.container.network': 'true' },
    state: 'running',
    health: 'none',
    pid: 100,
    network: { is: 'bridge' },
    restartCount: 0,
    ports: [],
    exposed: [],
    engineAddresses: [],
    resolvConf: `/resolv/${name}`,
    dns: [],
    dnsSearch: [],
    links: {},
    createdAt: instant(1),
    startedAt: instant(2),
    finishedAt: instant(0),
    ...over,
  }
}

class Allocation implements Addresses {
  readonly held = new Map<ContainerId, Ipv4>()
  next = ip('10.42.0.2')
  refusal: Grant | undefined

  allocate(container: ContainerId): Promise<Grant> {
    if (this.refusal !== undefined && !this.held.has(container)) return Promise.resolve(this.refusal)
    const address = this.held.get(container) ?? this.next
    if (!this.held.has(container)) this.next = ipv4At(this.next, 1)
    this.held.set(container, address)
    return Promise.resolve({ is: 'address', address })
  }
  addressOf(container: ContainerId): Ipv4 | undefined {
    return this.held.get(container)
  }
  stopped(): void {}
  removed(container: ContainerId): void {
    this.held.delete(container)
  }
}

class Network implements Attacher {
  readonly attached = new Map<number, AttachTarget>()
  readonly resolved: string[] = []
  /** Namespace of each process. */
  readonly inodes = new Map<number, number>()
  failures = 0

  inodeOf(pid: number): number | undefined {
    return this.inodes.get(pid)
  }
  attach(target: AttachTarget): Promise<void> {
    if (this.failures-- > 0) return Promise.reject(new Error('no'))
    this.attached.set(target.inode, target)
    return Promise.resolve()
  }
  detach(inode: number): Promise<void> {
    this.attached.delete(inode)
    return Promise.resolve()
  }
  resolve(container: EngineContainer): Promise<void> {
    this.resolved.push(container.name)
    return Promise.resolve()
  }
}

function house(_t: Test) {
  const clock = new FakeClock()
  const log = new MemoryLog()
  const addresses = new Allocation()
  const attacher = new Network()
  const containers = new Containers(
    { addresses, attacher, wishOf, clock, log, meter: new MemoryMeter(), onChange: () => undefined },
    { environment: 'default', hostInode },
  )
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 50; turn++) await Promise.resolve()
  }
  const apply = async (...list: EngineContainer[]): Promise<void> => {
    containers.apply(new Map(list.map((one) => [one.id, one])))
    await settle()
  }
  const addressOf = (name: string) =>
    containers.held().find(({ container }) => container.name === name)?.address
  return { clock, log, addresses, attacher, containers, apply, settle, addressOf }
}

test('start, stop and start again keep the address; removal gives it up', async (t) => {
  const { attacher, addresses, apply, addressOf } = house(t)
  attacher.inodes.set(100, 50).set(101, 51)
  await apply(engineContainer('a'))
  t.match(attacher.attached.get(50), { address: ip('10.42.0.2'), outward: false })
  t.strictSame(attacher.resolved, ['a'])
  await apply(engineContainer('a', { health: 'healthy' }))
  t.strictSame(attacher.resolved, ['a'], 'nothing is done twice')
  await apply(engineContainer('a', { state: 'exited', pid: 0 }))
  t.equal(attacher.attached.size, 0)
  t.equal(addressOf('a'), ip('10.42.0.2'), 'a stopped one keeps it')
  await apply(engineContainer('a', { pid: 101, startedAt: instant(9) }))
  t.match(attacher.attached.get(51), { address: ip('10.42.0.2') })
  t.strictSame(attacher.resolved, ['a', 'a'], 'Docker has written resolv.conf anew')
  await apply()
  t.equal(attacher.attached.size, 0)
  t.equal(addresses.held.size, 0)
})

test('a new run in a namespace with the inode of the old one is attached again', async (t) => {
  const { attacher, apply } = house(t)
  attacher.inodes.set(100, 50)
  await apply(engineContainer('a'))
  attacher.attached.clear()
  await apply(engineContainer('a', { startedAt: instant(9) }))
  t.match(attacher.attached.get(50), { address: ip('10.42.0.2') })
})

test('who is not ours is left alone', async (t) => {
  const { attacher, containers, apply, addressOf } = house(t)
  attacher.inodes.set(100, 50).set(7, hostInode)
  const plain = engineContainer('plain', { labels: {} })
  const other = engineContainer('other', {
    labels: { 'io.rancher.container.network': 'true', 'drover.environment': 'lab' },
  })
  const onHost = engineContainer('host', { pid: 7, network: { is: 'host' } })
  await apply(plain, other, onHost)
  t.equal(attacher.attached.size, 0, 'nothing is ever attached to the namespace of the host')
  t.strictSame(
    containers.held().map(({ container }) => container.name),
    ['host'],
  )
  t.equal(addressOf('host'), null)
})

test('a shared namespace shares the address', async (t) => {
  const { attacher, addresses, apply, addressOf } = house(t)
  attacher.inodes.set(100, 50).set(101, 50).set(102, 52)
  const network: NetworkMode = { is: 'container', container: containerId('main') }
  const side = engineContainer('side', { pid: 101, network })
  await apply(side, engineContainer('main'))
  t.equal(addressOf('side'), addressOf('main'), 'whoever settles first')
  t.equal(attacher.attached.size, 1)
  const stopped = engineContainer('main', { state: 'exited', pid: 0 })
  await apply(side, stopped)
  t.equal(attacher.attached.size, 1, 'the sidekick still lives in it')
  attacher.inodes.set(100, 53)
  await apply(side, engineContainer('main', { startedAt: instant(9) }))
  t.equal(attacher.attached.get(53)?.address, ip('10.42.0.2'), 'the first is back in a namespace of its own')
  t.equal(addresses.held.get(containerId('main')), ip('10.42.0.2'))
})

test('two managed containers in the namespace of an unmanaged one', async (t) => {
  const { attacher, apply, settle, addressOf } = house(t)
  attacher.inodes.set(100, 50).set(101, 50)
  const network: NetworkMode = { is: 'container', container: containerId('base') }
  const one = engineContainer('one', { network, createdAt: instant(1) })
  const two = engineContainer('two', { network, pid: 101, createdAt: instant(2) })
  await apply(two, one)
  await settle()
  t.equal(addressOf('one'), addressOf('two'), 'the older one holds the address for both')
  t.equal(attacher.attached.get(50)?.container, containerId('one'))
  await apply(two)
  await settle()
  t.equal(attacher.attached.get(50)?.container, containerId('two'), 'the other takes over when it goes')
  t.equal(attacher.attached.get(50)?.address, addressOf('two'))
})

test('what fails is tried again', async (t) => {
  const { attacher, addresses, clock, log, containers, apply, settle, addressOf } = house(t)
  attacher.inodes.set(100, 50)
  attacher.failures = 1
  await apply(engineContainer('a'))
  t.equal(addressOf('a'), null)
  t.match(containers.held()[0]?.problems, ['no'])
  clock.advance(seconds(1))
  await settle()
  t.equal(addressOf('a'), ip('10.42.0.2'))
  t.strictSame(containers.held()[0]?.problems, [])
  addresses.refusal = { is: 'refused', why: 'full' }
  attacher.inodes.set(200, 60)
  await apply(engineContainer('a'), engineContainer('b', { pid: 200 }))
  t.match(containers.held().find(({ container }) => container.name === 'b')?.problems, [/full/])
  clock.advance(seconds(20))
  await settle()
  t.equal(
    log.lines.filter(({ message }) => /cannot be attached/.test(message)).length,
    2,
    'said once, not at every try',
  )
})

test('a lost address is cut off at once and replaced', async (t) => {
  const { attacher, addresses, containers, apply, settle, addressOf } = house(t)
  attacher.inodes.set(100, 50)
  await apply(engineContainer('a'))
  addresses.held.delete(containerId('a'))
  containers.lose([containerId('a')])
  t.equal(attacher.attached.size, 0)
  await settle()
  t.equal(addressOf('a'), ip('10.42.0.3'))
  t.match(attacher.attached.get(50), { address: ip('10.42.0.3') })
  containers.recheck(new Map())
  attacher.attached.clear()
  await settle()
  containers.recheck(new Map())
  await settle()
  t.equal(attacher.attached.size, 1, 'somebody removed the attachment')
})
