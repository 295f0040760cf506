/**
 * IPsec as a backend: keeps charon at the peers that it was told last. What charon was told is remembered as long as
 * the connection to it stands; over a new one everything is said again, and charon leaves alone what is the same. One
 * changed peer is one changed connection. `tend` mends what broke behind our back.
 */
import { DroverError, reasonOf } from '../../model/errors.ts'
import type { Clock, Log, Meter } from '../../model/ports.ts'
import type { HostId } from '../../model/records.ts'
import type { Backend, BackendReport, Peer, PeerReport } from '../backend.ts'
import { Calls } from './calls.ts'
import { childName, connectionOf, hasIpsec, type IpsecSelf } from './connections.ts'
import type { Credentials } from './credentials.ts'
import { FaultReader, faultEvents } from './faults.ts'
import { ifIdsOf } from './if-id.ts'
import { loadCredentials } from './load-credentials.ts'
import { mendingOf, type Wanted } from './mend.ts'
import { charonFault } from './needs.ts'
import { type IkeSa, ikeSasIn, isUp } from './sas.ts'
import { namesIn, type Vici } from './vici-client.ts'
import type { ViciSection } from './vici-message.ts'
import type { KernelSas } from './xfrm.ts'

export interface IpsecBackendDeps {
  /** A new connection to charon; rejects with IPSEC_UNAVAILABLE. */
  readonly connect: () => Promise<Vici>
  /** As they are now; asked before every change. */
  readonly credentials: () => Credentials
  /** What the kernel has of ours; undefined where charon itself encrypts. */
  readonly kernelSas: (() => Promise<KernelSas>) | undefined
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
}

/** What charon was told over one connection. */
interface Session {
  readonly vici: Vici
  /** Host → its connection as text. */
  readonly told: Map<string, string>
  /** It knew nobody: it has just started. */
  blank: boolean
  credentials: string
}

interface Target extends Wanted {
  readonly connection: ViciSection
  readonly text: string
}

export class IpsecBackend implements Backend {
  /** Outer IPv6 header, UDP header, ESP header and IV, padding and trailer, ICV (RFC 4303, RFC 4106, RFC 3948). */
  readonly overhead = 40 + 8 + 8 + 8 + 3 + 2 + 16
  readonly #deps: IpsecBackendDeps
  readonly #self: IpsecSelf
  readonly #faults: FaultReader
  readonly #calls: Calls
  #targets: ReadonlyMap<HostId, Target> = new Map()
  #session: Session | undefined
  #opening: Promise<Session> | undefined
  #closed = false
  #suspects: ReadonlySet<HostId> = new Set()
  /** What is wrong with charon itself. */
  #trouble: DroverError | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(deps: IpsecBackendDeps, self: IpsecSelf) {
    this.#deps = deps
    this.#self = self
    this.#faults = new FaultReader(deps.clock)
    this.#calls = new Calls(self.host)
  }

  /** One after the other; rejects with IPSEC_UNAVAILABLE while charon does not answer. */
  apply(peers: readonly Peer[]): Promise<void> {
    return this.#turn(() => {
      this.#targets = this.#targetsOf(peers)
      return this.#look()
    })
  }

  async status(): Promise<BackendReport> {
    const { vici } = await this.#open()
    const sas = Map.groupBy(ikeSasIn(await vici.list('list-sas')), ({ host }) => host)
    const peers = [...this.#targets.keys()].flatMap((host) => this.#reportOf(host, sas.get(host) ?? []))
    return { peers, facts: undefined, problems: this.#problems() }
  }

  #problems(): readonly DroverError[] {
    return [...(this.#trouble === undefined ? [] : [this.#trouble]), ...this.#faults.problems(this.#targets)]
  }

  /** One look at what is there, and what mends it; to be called every few seconds. */
  tend(): Promise<void> {
    return this.#turn(() => this.#look())
  }

  /** Waits for what is under way. Charon goes on with its peers. */
  async close(): Promise<void> {
    await this.#last
    this.#closed = true
    this.#session?.vici.close()
  }

  async #look(): Promise<void> {
    const session = await this.#open()
    await this.#converge(session)
    await this.#mend(session)
  }

  #turn(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => undefined)
    return turn
  }

  #targetsOf(peers: readonly Peer[]): ReadonlyMap<HostId, Target> {
    const able = peers.filter(hasIpsec)
    const ifIds = ifIdsOf(
      this.#self.environment,
      able.map(({ host }) => host),
    )
    return new Map(
      able.flatMap((peer) => {
        const ifId = ifIds.get(peer.host)
        if (ifId === undefined) return []
        const connection = connectionOf(this.#self, peer, ifId)
        const remote = this.#self.esp === 'userspace' ? peer.allowed : []
        return [[peer.host, { ifId, remote, connection, text: JSON.stringify(connection) }] as const]
      }),
    )
  }

  /** One connection, whoever asks first: one that nobody closes would keep the process. */
  #open(): Promise<Session> {
    if (this.#session !== undefined) return Promise.resolve(this.#session)
    this.#opening ??= this.#begin().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #begin(): Promise<Session> {
    const vici = await this.#deps.connect()
    try {
      const known = namesIn(await vici.request('get-conns'), 'conns')
      const told = new Map(known.map((name) => [name, '']))
      const session: Session = { vici, told, blank: known.length === 0, credentials: '' }
      this.#trouble = charonFault(await vici.request('version'), await vici.request('stats'), this.#self.esp)
      await vici.subscribe(faultEvents, (name, message) => this.#faults.hear(name, message))
      if (this.#closed) throw new DroverError('IPSEC_UNAVAILABLE', 'it is not asked any more')
      this.#session = session
      void vici.ended.then(() => this.#lose(session))
      return session
    } catch (error) {
      vici.close()
      throw error
    }
  }

  #lose(session: Session): void {
    if (this.#session === session) this.#session = undefined
  }

  async #converge(session: Session): Promise<void> {
    const credentials = this.#deps.credentials()
    const text = JSON.stringify(credentials)
    if (session.credentials !== text) await this.#credit(session.vici, credentials)
    session.credentials = text
    for (const name of session.told.keys())
      if (!this.#targets.has(name as HostId)) await this.#remove(session, name as HostId)
    for (const [host, { connection, text }] of this.#targets) {
      const before = session.told.get(host)
      if (before === text) continue
      await session.vici.request('load-conn', { [host]: connection })
      session.told.set(host, text)
      // What charon has lost, or what is new of a peer it knew, nobody but this host misses.
      this.#calls.soon(host, session.blank || before !== undefined)
    }
    session.blank = false
  }

  async #credit(vici: Vici, credentials: Credentials): Promise<void> {
    try {
      await loadCredentials(vici, credentials)
      if (this.#trouble?.code === 'IPSEC_KEY') this.#trouble = undefined
    } catch (error) {
      if (error instanceof DroverError && error.code === 'IPSEC_KEY') this.#trouble = error
      throw error
    }
  }

  async #remove({ vici, told }: Session, host: HostId): Promise<void> {
    await vici.request('unload-conn', { name: host })
    told.delete(host)
    this.#faults.forget(host)
    await this.#end(vici, { ike: host })
  }

  async #mend(session: Session): Promise<void> {
    const { clock, kernelSas, log, meter } = this.#deps
    const { vici, told } = session
    const sas = ikeSasIn(await vici.list('list-sas'))
    const kernel = await kernelSas?.()
    const found = mendingOf({ self: this.#self.host, wanted: this.#targets, sas, kernel })
    for (const id of found.ike) await this.#end(vici, { 'ike-id': String(id) })
    for (const id of found.children) await this.#end(vici, { 'child-id': String(id) })
    // Seen twice: the kernel and charon are not asked at the same moment.
    const lost = found.lost.filter((host) => this.#suspects.has(host))
    for (const host of lost) {
      log.warn('IPsec state was deleted in the kernel; making it again', { peer: host })
      meter.count('drover_ipsec_heals_total')
      await this.#remove(session, host)
      this.#calls.soon(host, true)
    }
    this.#suspects = new Set(found.lost.filter((host) => !lost.includes(host)))
    if (lost.length > 0) await this.#converge(session)
    for (const host of this.#calls.due([...found.missing, ...lost], clock.boot()))
      if (told.has(host)) await this.#call(vici, host)
  }

  /** Begins and does not wait: an answer may take as long as a peer is away. */
  #call(vici: Vici, host: HostId): Promise<unknown> {
    const wish = { ike: host, child: childName, timeout: '-1' }
    return vici.request('initiate', wish).catch((err) => {
      this.#deps.log.debug('charon does not begin', { peer: host, why: reasonOf(err) })
    })
  }

  /** What has ended by itself meanwhile cannot be ended: nothing is wrong then. */
  #end(vici: Vici, which: ViciSection): Promise<unknown> {
    return vici.request('terminate', { ...which, force: 'yes', timeout: '-1' }).catch(() => undefined)
  }

  #reportOf(host: HostId, sas: readonly IkeSa[]): readonly PeerReport[] {
    const [newest] = sas.filter(isUp).sort((one, other) => one.age - other.age)
    const children = sas.flatMap((sa) => sa.children)
    if (newest === undefined || children.length === 0) return []
    const youngest = Math.min(...children.map(({ age }) => age))
    return [
      {
        host,
        backend: 'ipsec',
        engine: this.#self.esp === 'kernel' ? 'kernel' : 'charon',
        endpoint: newest.endpoint,
        lastHandshake: this.#deps.clock.now() - youngest * 1000,
        received: children.reduce((sum, { bytesIn }) => sum + bytesIn, 0),
        sent: children.reduce((sum, { bytesOut }) => sum + bytesOut, 0),
      },
    ]
  }
}
