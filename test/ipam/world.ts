/**
 * Hosts with allocators on one shared store, for the model test: each with its own clocks, which may jump, stand
 * still or start anew, its own link and its own late view of the store. It knows the truth that no host knows:
 * who has which address attached, and where the store sends packets to it.
 */
import type { View } from '../../ipam/reconcile.ts'
import { blockAround, spaceOf } from '../../ipam/space.ts'
import { type Cidr, formatIpv4, type Ipv4 } from '../../model/ip.ts'
import { meaningOf } from '../../model/keys.ts'
import {
  type Claim,
  type ContainerId,
  containerIdField,
  type HostId,
  type HostRecord,
  hostIdField,
} from '../../model/records.ts'
import { instant, millis } from '../../model/time.ts'
import type { SeededRandom } from '../support/ports.ts'
import { hostRecord } from '../support/records.ts'
import { grace, ModelHost, settings } from './model-host.ts'
import { keys, SharedStore } from './shared-store.ts'

const space = spaceOf(settings)

export class World {
  readonly hosts: ModelHost[] = []
  readonly random: SeededRandom
  /** Which situations this world has seen, and how often. */
  readonly seen: Map<string, number>
  readonly shared: SharedStore
  /** What went against the law. */
  readonly wrong: string[] = []
  now = 0
  #count = 0
  #events: { readonly at: number; readonly action: () => void }[] = []
  #cached: View | undefined
  readonly #past: { readonly at: number; readonly view: View }[] = []
  readonly #records = new Map<HostId, HostRecord>()

  constructor(random: SeededRandom, hosts: number, seen = new Map<string, number>()) {
    this.random = random
    this.seen = seen
    this.shared = new SharedStore(this.note)
    for (let at = 0; at < hosts; at++) this.hosts.push(new ModelHost(this, this.hostId()))
  }

  readonly note = (situation: string): void => {
    this.seen.set(situation, (this.seen.get(situation) ?? 0) + 1)
  }

  hostId(): HostId {
    const text = [...this.random.bytes(16)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    return hostIdField.parse(text.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'))
  }

  containerId(): ContainerId {
    return containerIdField.parse((++this.#count).toString(16).padStart(64, '0'))
  }

  later(delay: number, action: () => void): void {
    if (delay === 0) queueMicrotask(action)
    else this.#events.push({ at: this.now + delay, action })
  }

  /** Time passes for everybody who is awake; what falls due happens in its order. */
  pass(milliseconds: number): void {
    const until = this.now + milliseconds
    for (let event = this.#due(until); event !== undefined; event = this.#due(until)) {
      this.#events.splice(this.#events.indexOf(event), 1)
      this.#move(event.at)
      event.action()
    }
    this.#move(until)
  }

  /** What the store held at a moment of the last seconds. */
  viewAt(moment: number): View {
    return this.#past.findLast(({ at }) => at <= moment)?.view ?? this.view()
  }

  view(): View {
    if (this.#cached?.revision !== this.shared.revision) this.#cached = this.#read()
    return this.#cached
  }

  /** Whether packets to a container's address come to its host. */
  leads(host: ModelHost, address: Ipv4, container: string | undefined): boolean {
    const found = this.shared.leadsTo(address, blockAround(space, address))
    return found?.host === host.id && (found.container === null || found.container === container)
  }

  /** An address has just been given for the first time: it must lead here, however long the host was away. */
  given(host: ModelHost, address: Ipv4, container: string): void {
    if (host.away) this.note('an address was given by a host that is away')
    if (!host.adopting && !this.leads(host, address, container))
      this.wrong.push(`${formatIpv4(address)} was given by ${host.id} and does not lead there`)
  }

  /** What went against the law: an attached address that leads elsewhere, or is attached twice. */
  problems(): readonly string[] {
    for (const host of this.hosts) {
      this.wrong.push(...host.allocator.checkInvariants())
      // A host that has been away for the grace may have lost its blocks; it detaches when it looks again.
      if (this.now - host.renewedAt >= grace) host.away = true
      const seen = new Set<Ipv4>()
      for (const { attached, id } of host.containers.values()) {
        if (attached === undefined) continue
        if (seen.has(attached)) this.wrong.push(`${formatIpv4(attached)} is attached twice at ${host.id}`)
        seen.add(attached)
        if (!host.away && !this.leads(host, attached, id))
          this.wrong.push(`${formatIpv4(attached)} of ${id} does not lead to ${host.id}`)
      }
      const own = host.allocator.managed()
      if (own !== undefined && !host.away && !this.leads(host, own, undefined))
        this.wrong.push(`${formatIpv4(own)}, its own, does not lead to ${host.id}`)
    }
    return this.wrong
  }

  #due(until: number): { readonly at: number; readonly action: () => void } | undefined {
    let first: { readonly at: number; readonly action: () => void } | undefined
    for (const event of this.#events)
      if (event.at <= until && (first === undefined || event.at < first.at)) first = event
    return first
  }

  #move(to: number): void {
    const by = millis(to - this.now)
    this.now = to
    for (const host of this.hosts) if (!host.asleep) host.clock.advance(by)
    this.shared.expire(to)
    const view = this.view()
    if (this.#past.at(-1)?.view === view) return
    this.#past.push({ at: to, view })
    if (this.#past.length > 200) this.#past.splice(0, 100)
  }

  #record(id: HostId): HostRecord {
    const record = this.#records.get(id) ?? hostRecord(id)
    this.#records.set(id, record)
    return record
  }

  #read(): View {
    const blocks = new Map<Cidr, Claim>()
    const pins = new Map<Ipv4, Claim>()
    const hosts: Map<HostId, View['hosts'] extends ReadonlyMap<HostId, infer H> ? H : never> = new Map()
    for (const key of this.shared.entries.keys()) {
      const meaning = meaningOf(keys.prefix, key)
      const claim = this.shared.claimAt(key)
      if (meaning.is === 'block' && claim !== undefined) blocks.set(meaning.cidr, claim)
      if (meaning.is === 'pin' && claim !== undefined) pins.set(meaning.address, claim)
      if (meaning.is !== 'alive') continue
      const alive = { host: meaning.host, since: instant(0) }
      hosts.set(meaning.host, {
        record: this.#record(meaning.host),
        alive,
        reachability: 'unknown',
        present: true,
      })
    }
    return { revision: this.shared.revision, hosts, blocks, pins, containers: new Map() }
  }
}
