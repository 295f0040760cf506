/**
 * A real etcd that is restored from a snapshot older than what hosts have done since, and one that is emptied: each
 * host writes again what is its own, nobody loses an address, and in no view is a host or a block missing meanwhile.
 */
import { execFile } from 'node:child_process'
import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { t as root, type Test, test } from 'tap'
import { AliveKey } from '../../daemon/alive-key.ts'
import { Fold } from '../../daemon/fold.ts'
import { Live } from '../../daemon/live.ts'
import { Observer } from '../../daemon/observer.ts'
import { Publisher } from '../../daemon/publisher.ts'
import { Allocator } from '../../ipam/allocator.ts'
import type { Environment } from '../../model/environment.ts'
import type { Ipv4 } from '../../model/ip.ts'
import type { ContainerRecord } from '../../model/records.ts'
import { instant } from '../../model/time.ts'
import type { Authority } from '../../pki/authority.ts'
import { loadOrCreateIdentity } from '../../pki/identity.ts'
import { EnvelopeSealer } from '../../pki/sealer.ts'
import type { Trust } from '../../pki/trust.ts'
import { openStore } from '../../store/open.ts'
import type { Store } from '../../store/store.ts'
import { etcdMissing, TestEtcd } from '../support/etcd.ts'
import { authorityFor, folderOf, keys } from '../support/members.ts'
import { MemoryLedger, MemoryLog, MemoryMeter } from '../support/ports.ts'
import { realClock as clock } from '../support/real-clock.ts'
import { container, containerId, hostRecord, settings } from '../support/records.ts'

root.setTimeout(180_000)

/** What of a daemon speaks to the store. */
class Host {
  readonly name: string
  readonly lost: string[] = []
  /** Every view since the last look. */
  views: Environment[] = []
  readonly #allocator: Allocator
  readonly #fold: Fold
  readonly #observer: Observer
  readonly #publisher: Publisher
  readonly #record
  readonly #containers = new Map<string, ContainerRecord>()
  readonly #running: Promise<unknown>
  readonly #stop = new AbortController()

  constructor(t: Test, name: string, store: Store, ca: Authority, trust: Trust) {
    this.name = name
    const identity = loadOrCreateIdentity(folderOf(t))
    const { id: self, signingKey } = identity
    const certificate = ca.issueHost(self, signingKey, clock.now()).pem
    this.#record = hostRecord(name, { id: self, signingKey, certificate })
    const [log, meter, ledger] = [new MemoryLog(), new MemoryMeter(), new MemoryLedger()]
    const sealer = new EnvelopeSealer({ identity, ledger })
    const keeps = (key: string): boolean => this.#allocator.keeps(key)
    const onChange = (): void => this.#publisher.headChanged()
    const live = new Live({ self, sealer, ledger, clock, onChange, keeps }, keys)
    this.#allocator = new Allocator(
      { store, ledger, sealer: live, clock, log, meter },
      { keys, self, settings, bootId: 'one' },
    )
    this.#publisher = new Publisher(
      {
        ...{ store, sealer, live, clock, log, meter },
        raise: (counter) => sealer.raise(counter),
      },
      { keys, self, signingKey },
    )
    const aliveKey = new AliveKey(
      {
        ...{ store, sealer, clock, log, meter },
        onRenewed: (sent, revision) => this.#allocator.renewed(sent, revision),
        onTakenOut: () => undefined,
      },
      { keys, self, started: instant(1) },
    )
    const now = () => clock.now()
    const isLive = (key: string, counter: number) => live.isLive(key, counter)
    this.#fold = new Fold({ log, meter, trust: () => trust, now, isLive }, { keys, self, settings })
    this.#observer = new Observer(
      {
        ...{ store, fold: this.#fold, clock, log, meter },
        snapshots: new MemoryLedger(),
        onArrival: () => undefined,
        onUpdate: (update) => {
          this.#publisher.observe(update)
          aliveKey.observe(update)
        },
        onEnvironment: (environment) => this.#see(environment),
      },
      keys,
    )
    this.#running = Promise.all([this.#observer.start(), aliveKey.run(), this.#tick()])
    t.teardown(async () => {
      this.#stop.abort()
      this.#observer.close()
      aliveKey.close()
      await this.#publisher.close()
      await store.close()
      await this.#running
    })
  }

  get id() {
    return this.#record.id
  }

  get view(): Environment | undefined {
    return this.#observer.environment
  }

  /** Whether what it shows is partly what it remembers. */
  get bridges(): boolean {
    return this.#fold.bridgedUntil !== undefined
  }

  get fresh(): boolean {
    return this.#observer.fresh
  }

  async run(name: string): Promise<Ipv4> {
    const id = containerId(name)
    const answer = await until(`an address of ${name}`, async () => {
      const given = await this.#allocator.allocate(id)
      return given.is === 'address' ? given : undefined
    })
    this.#containers.set(name, container(name, { id, host: this.id, address: answer.address }))
    this.#say()
    return answer.address
  }

  remove(name: string): void {
    this.#allocator.removed(containerId(name))
    this.#containers.delete(name)
    this.#say()
  }

  addressOf(name: string): Ipv4 | undefined {
    return this.#allocator.addressOf(containerId(name))
  }

  #see(environment: Environment): void {
    this.views.push(environment)
    for (const { container: id } of this.#allocator.observe(environment, this.fresh)) this.lost.push(id)
    this.#say()
  }

  #say(): void {
    const own = [...this.#containers.values()].map((one) => [keys.container(this.id, one.id), one] as const)
    this.#publisher.publish(new Map<string, object>([[keys.host(this.id), this.#record], ...own]))
  }

  async #tick(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#allocator.tick()
      await delay(200, undefined, { signal: this.#stop.signal }).catch(() => undefined)
    }
  }
}

async function until<T>(what: string, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (let tries = 0; tries < 600; tries++) {
    const found = await look()
    if (found !== undefined) return found
    await delay(50)
  }
  throw new TypeError(`waited in vain for ${what}`)
}

/** Whose block every address is in, as one host sees it. */
const textOf = ({ hosts, blocks, containers }: Environment): string =>
  [
    ...[...hosts.values()].map(({ record }) => `host ${record.name}`),
    ...[...blocks].map(([cidr, { host }]) => `${cidr} ${hosts.get(host)?.record.name}`),
    ...[...containers.values()].map(({ name, address }) => `${name} ${address}`),
  ]
    .sort()
    .join('\n')

/** From the store itself, and not from what they remember. */
const agree = (hosts: readonly Host[], wanted: string): Promise<true> =>
  until('all hosts to see what was there', () =>
    hosts.every(
      ({ fresh, bridges, view }) => fresh && !bridges && view !== undefined && textOf(view) === wanted,
    )
      ? true
      : undefined,
  )

const needsEtcd = etcdMissing() === undefined ? {} : { skip: etcdMissing() ?? '' }

test('restored from before a host came, then emptied', needsEtcd, async (t) => {
  const etcd = await TestEtcd.start()
  t.teardown(() => etcd.remove())
  const [member] = etcd.members
  if (member === undefined) throw new TypeError('one member')
  const { ca, trust } = authorityFor(t, clock.now())
  const open = () => openStore({ url: etcd.url, path: '' }, { clock, log: new MemoryLog() })
  const one = new Host(t, 'one', await open(), ca, trust)
  const two = new Host(t, 'two', await open(), ca, trust)
  const web = await one.run('web')
  await two.run('short')
  await until('both to see both', () => (one.view?.containers.size === 2 ? true : undefined))

  const backup = join(etcd.folder, 'backup.db')
  await etcd.ctl('snapshot', 'save', backup)
  two.remove('short')
  const late = new Host(t, 'late', await open(), ca, trust)
  const address = await late.run('later')
  const hosts = [one, two, late]
  await until('all to see it', () =>
    hosts.every(
      ({ view }) => view?.containers.get(containerId('later'))?.address === address && view.hosts.size === 3,
    )
      ? true
      : undefined,
  )
  // Claims that follow each other come to rest.
  await delay(1500)
  const wanted = textOf(late.view as Environment)
  await agree(hosts, wanted)
  for (const host of hosts) host.views = []

  await t.test('restored', async (t) => {
    await member.kill()
    const data = join(etcd.folder, member.name)
    renameSync(data, `${data}.lost`)
    const peer = `http://127.0.0.1:${member.ports.peer}`
    const cluster = ['--initial-cluster', `${member.name}=${peer}`, '--initial-cluster-token', 'restored']
    const place = ['--name', member.name, '--initial-advertise-peer-urls', peer, '--data-dir', data]
    await promisify(execFile)('etcdctl', ['snapshot', 'restore', backup, ...place, ...cluster], {
      env: { PATH: process.env.PATH, ETCDCTL_API: '3' },
    })
    member.start()
    await etcd.ready()
    await until('a host to be told', () => (one.views.length > 1 ? true : undefined))
    await agree(hosts, wanted)
    t.same([one.addressOf('web'), late.addressOf('later')], [web, address])
    nobodyMissed(t, hosts, wanted)
  })

  await t.test('emptied', async (t) => {
    await member.kill()
    rmSync(join(etcd.folder, member.name), { recursive: true })
    member.start()
    await etcd.ready()
    await until('a host to be told', () => (one.views.length > 1 ? true : undefined))
    await agree(hosts, wanted)
    t.same([one.addressOf('web'), late.addressOf('later')], [web, address])
    nobodyMissed(t, hosts, wanted)
  })
})

/** No view lacked anything, and no container was told to give up its address. */
function nobodyMissed(t: Test, hosts: readonly Host[], wanted: string): void {
  for (const host of hosts) {
    const missing = host.views.flatMap((view) => {
      const shown = new Set(textOf(view).split('\n'))
      return wanted.split('\n').filter((line) => !shown.has(line))
    })
    t.same([...new Set(missing)], [], `${host.name} saw everything all the time`)
    t.same(host.lost, [])
    host.views = []
  }
}
