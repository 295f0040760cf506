/**
 * Several hosts on one machine: a network namespace, a real Docker Engine and a Drover daemon for each, etcd beside
 * them. `Lab.up` returns when every daemon answers; `down` leaves nothing behind, and so does an `up` that fails.
 * Used by people (main.ts), tests and benchmarks alike.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DroverError } from '../model/errors.ts'
import { end } from './command.ts'
import {
  charonPid,
  createEnvironment,
  createToken,
  daemonAnswers,
  joinEnvironment,
  managedAddress,
  startDaemon,
  tunnelPid,
  writeConfig,
} from './drover.ts'
import { dockerHost, fillEngine, startEngine } from './engine.ts'
import { etcdAnswers, etcdEndpoints, etcdUrl, startMember } from './etcd.ts'
import { LabHost } from './host.ts'
import { imageArchive } from './image.ts'
import { image, type LabPlace, labName, placeOf, root } from './layout.ts'
import {
  type BackendChoice,
  defaultLab,
  type HostEntry,
  type LabRecord,
  readRecord,
  type StoreKind,
  writeRecord,
} from './record.ts'
import { sweep } from './sweep.ts'
import { makeBridge, plugHost, plugStore } from './underlay.ts'

export interface LabOptions {
  readonly hosts: number
  /** Labs of different names live beside each other; tests take names of their own. */
  readonly name?: string
  readonly store?: StoreKind
  readonly backend?: BackendChoice
  /** Told of each step. */
  readonly say?: (line: string) => void
}

/** A name for a lab of a test, which no other lab has. */
export const testLabName = (what: string): string => `dt-${what}-${process.pid.toString(36)}`

export class Lab {
  readonly place: LabPlace
  readonly #record: LabRecord
  readonly #backend: BackendChoice

  private constructor(place: LabPlace, record: LabRecord, backend: BackendChoice) {
    this.place = place
    this.#record = record
    this.#backend = backend
  }

  static async up(options: LabOptions): Promise<Lab> {
    const { hosts, name = defaultLab, store = hosts === 1 ? 'embedded' : 'etcd' } = options
    const say = options.say ?? (() => undefined)
    refuse({ ...options, name, store })
    const place = placeOf(name)
    await sweep(place)
    const lab = new Lab(place, emptyRecord(place), options.backend ?? 'auto')
    try {
      await lab.#build(hosts, store, say)
    } catch (error) {
      await sweep(place)
      throw error
    }
    return lab
  }

  /** The lab that runs under this name. */
  static open(name = defaultLab): Lab {
    return new Lab(placeOf(name), readRecord(name), 'auto')
  }

  get record(): LabRecord {
    return this.#record
  }

  /** By its number, from 1. */
  host(number: number): LabHost {
    const entry = this.#record.hosts[number - 1]
    if (entry === undefined) {
      const last = this.#record.hosts.length
      throw new DroverError('USAGE', `the lab has no host h${number}: h1 to h${last}`)
    }
    return new LabHost(this.place.host(number), entry, () => this.#save())
  }

  get hosts(): readonly LabHost[] {
    return this.#record.hosts.map((_, at) => this.host(at + 1))
  }

  /** Starts etcd beside the hosts; its URL for `drover init --store` and `drover store move`. */
  async addStore(kind: 'etcd' | 'etcd3'): Promise<string> {
    const members = kind === 'etcd3' ? 3 : 1
    await plugStore(this.place, members)
    const pids = Array.from({ length: members }, (_, at) => startMember(this.place, at + 1, members))
    Object.assign(this.#record.store, {
      kind,
      endpoints: etcdEndpoints(members),
      namespace: this.place.store,
      pids,
    })
    this.#save()
    await etcdAnswers(this.place, members)
    return etcdUrl(members)
  }

  /** kill -9, or another signal, of a member of etcd (from 1). */
  async killMember(member: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const pid = this.#record.store.pids[member - 1]
    if (pid === undefined) throw new DroverError('USAGE', `etcd has no member ${member}`)
    await end(pid, signal)
  }

  async startMember(member: number): Promise<void> {
    const { pids } = this.#record.store
    pids[member - 1] = startMember(this.place, member, pids.length)
    this.#save()
    await etcdAnswers(this.place, pids.length)
  }

  /** Adds a machine with an engine that is no member of an environment yet. */
  async addMachine(): Promise<number> {
    const number = this.#record.hosts.length + 1
    const place = this.place.host(number)
    this.#record.hosts.push(entryOf(place))
    await plugHost(this.place, number)
    writeConfig(place, this.#backend)
    this.#save()
    return number
  }

  async startEngine(number: number): Promise<void> {
    const { place, entry } = this.host(number)
    entry.pids.dockerd = await startEngine(place)
    await fillEngine(place, await imageArchive(this.place.folder))
    this.#save()
  }

  /** `drover join` on a machine, and its daemon, up to the point where it answers and has an address. */
  async join(number: number): Promise<void> {
    await joinEnvironment(this.host(number).place, await createToken(this.host(1).place, 1))
    await this.startDaemon(number)
  }

  async startDaemon(number: number): Promise<void> {
    const { place, entry } = this.host(number)
    entry.pids.daemon = startDaemon(place)
    this.#save()
    await daemonAnswers(place)
    entry.managed = await managedAddress(place)
    entry.pids.tunnel = (await tunnelPid(place)) ?? null
    entry.pids.charon = (await charonPid(place)) ?? null
    this.#save()
  }

  /** Ends everything and leaves nothing behind. */
  down(): Promise<void> {
    return sweep(this.place)
  }

  async #build(hosts: number, store: StoreKind, say: (line: string) => void): Promise<void> {
    for (const folder of [this.place.folder, this.place.run]) mkdirSync(folder, { recursive: true })
    writeFileSync(join(this.place.run, 'clone'), root)
    await makeBridge(this.place)
    for (let count = 0; count < hosts; count++) await this.addMachine()
    const numbers = this.#record.hosts.map((_, at) => at + 1)
    say(
      `starting ${hosts} Docker ${hosts === 1 ? 'engine' : 'engines'}${store === 'embedded' ? '' : ' and etcd'} …`,
    )
    await imageArchive(this.place.folder)
    const [url] = await Promise.all([
      store === 'embedded' ? 'embedded' : this.addStore(store),
      ...numbers.map((number) => this.startEngine(number)),
    ])
    say('starting Drover …')
    await createEnvironment(this.host(1).place, url)
    await this.startDaemon(1)
    const others = numbers.slice(1)
    if (others.length === 0) return
    const token = await createToken(this.host(1).place, others.length)
    await Promise.all(
      others.map(async (number) => {
        await joinEnvironment(this.host(number).place, token)
        await this.startDaemon(number)
      }),
    )
  }

  #save(): void {
    writeRecord(this.place, this.#record)
  }
}

function refuse({ hosts, name, store }: LabOptions & { name: string; store: StoreKind }): void {
  if (process.getuid?.() !== 0) throw new DroverError('NOT_ROOT', 'the lab makes network namespaces')
  if (!labName.test(name)) throw new DroverError('USAGE', `${name} is no name for a lab`)
  if (!Number.isInteger(hosts) || hosts < 1 || hosts > 100)
    throw new DroverError('USAGE', '--hosts takes a number from 1 to 100')
  if (store === 'embedded' && hosts > 1)
    throw new DroverError('USAGE', 'the embedded store is for one host; take etcd for more')
}

const emptyRecord = (place: LabPlace): LabRecord => ({
  lab: place.name,
  environment: 'default',
  store: { kind: 'embedded', endpoints: [], namespace: null, tls: null, pids: [] },
  hosts: [],
  image,
  bridge: place.bridge,
})

const entryOf = (place: ReturnType<LabPlace['host']>): HostEntry => ({
  name: place.name,
  namespace: place.namespace,
  docker: dockerHost(place),
  underlay: place.underlay,
  managed: null,
  config: place.config,
  admin: place.admin,
  uapi: place.uapi,
  pids: { dockerd: 0, daemon: 0, tunnel: null, charon: null },
})
