/**
 * Removes hosts. The host that holds the CA signs the list of those that were removed; every host takes the newest
 * one that it sees, keeps it on disk, and no longer counts what they say, whatever they write into the store.
 */
import type { Environment } from '../../model/environment.ts'
import { DroverError, reasonOf } from '../../model/errors.ts'
import type { Keys } from '../../model/keys.ts'
import type { Clock, Log, Meter } from '../../model/ports.ts'
import type { HostId, HostRecord } from '../../model/records.ts'
import type { Authority } from '../../pki/authority.ts'
import { openEnvelope } from '../../pki/envelope.ts'
import { openRemoved, type RemovedList, sealRemoved } from '../../pki/removed.ts'
import type { Store, Update, Write } from '../../store/store.ts'
import { SignedList } from './signed-list.ts'
import type { TrustKeeper } from './trust-keeper.ts'

export interface RemovalDeps {
  readonly store: Store
  readonly keeper: TrustKeeper
  /** Throws where this host does not hold the key of the CA, or cannot open it. */
  readonly authority: () => Authority
  readonly holds: () => boolean
  readonly environment: () => Environment | undefined
  /** Hosts that are no members, by their records. */
  readonly strangers: () => readonly HostRecord[]
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** Takes over the services that a host has declared; says under which keys. */
  readonly inherit: (host: HostId) => ReadonlySet<string>
  /** Somebody was removed. */
  readonly onChange: () => void
}

export interface RemovalOptions {
  readonly keys: Keys
  readonly self: HostId
}

export interface RemovedHost {
  readonly id: HostId
  readonly name: string
  readonly records: number
  /** Whether it held the key of the CA. */
  readonly held: boolean
}

const batch = 100

export class Removal {
  readonly #deps: RemovalDeps
  readonly #options: RemovalOptions
  #writing: Promise<void> = Promise.resolve()
  readonly #list: SignedList<RemovedList>

  constructor(deps: RemovalDeps, options: RemovalOptions) {
    this.#deps = deps
    this.#options = options
    const { keeper, log, meter, onChange } = deps
    this.#list = new SignedList(
      {
        open: (value) => openRemoved(value, keeper.trust),
        keep: (list) => {
          if (keeper.remove(list)) onChange()
        },
        onHeard: (list) => this.#heard(list?.hosts ?? []),
        ...{ log, meter },
      },
      { key: options.keys.removed, kind: 'removed', work: 'removal' },
    )
  }

  /** What the watch says of the list. Where it is not the newest, the host that holds the CA puts it back. */
  observe(update: Update): void {
    this.#list.observe(update)
  }

  /** Time has passed: what the disk refused to keep is heard again. */
  again(): void {
    this.#list.again()
  }

  /** By name or id; on disk here and in the store when it returns. */
  async remove(which: string): Promise<RemovedHost> {
    const { keeper, authority } = this.#deps
    const ca = authority()
    const { id, name, authority: key } = this.#find(which)
    const { revoked } = keeper.trust
    // Before it stops to count.
    const inherited = this.#deps.inherit(id)
    keeper.remove({ number: keeper.listed + 1, hosts: [...revoked, id] })
    this.#deps.onChange()
    await this.#publish(ca)
    const records = await this.#takeOut(id, (key) => inherited.has(key))
    this.#deps.log.info('a host was removed', { host: id })
    return { id, name, records, held: key !== undefined }
  }

  /** A new CA has taken the place of the one that signed the list. */
  signAnew(): void {
    if (this.#deps.keeper.trust.revoked.size > 0) this.#publishSoon()
  }

  /** Resolves when nothing is being written. */
  settled(): Promise<void> {
    return this.#writing
  }

  #find(which: string): HostRecord {
    const { environment, strangers } = this.#deps
    const members = [...(environment()?.hosts.values() ?? [])].map(({ record }) => record)
    const found = [...members, ...strangers()].filter(({ id, name }) => id === which || name === which)
    const ids = new Set(found.map(({ id }) => id))
    const [record] = found
    if (record === undefined)
      throw new DroverError('USAGE', `there is no host ${which}; see \`drover hosts\``)
    if (ids.size > 1)
      throw new DroverError('USAGE', `several hosts are called ${which}: ${[...ids].join(', ')}`)
    if (record.id === this.#options.self)
      throw new DroverError('NOT_NOW', 'this host holds the CA; it leaves with `drover daemon --leave`')
    return record
  }

  #heard(standing: readonly string[]): void {
    const forgotten = [...this.#deps.keeper.trust.revoked].filter((host) => !standing.includes(host))
    // Also where two hosts that hold the CA have removed one each, and where the store was restored from before.
    if (forgotten.length > 0 && this.#deps.holds()) this.#publishSoon(forgotten)
  }

  async #publish(ca: Authority): Promise<void> {
    const { store, keeper } = this.#deps
    const { environment, revoked } = keeper.trust
    const value = sealRemoved({ environment, number: keeper.listed, hosts: [...revoked] }, ca)
    await store.transact([], [{ is: 'put', key: this.#options.keys.removed, value }])
  }

  #publishSoon(forgotten: readonly string[] = []): void {
    this.#writing = this.#writing
      .then(() => this.#publish(this.#deps.authority()))
      .then(async () => {
        // Services that it had declared are somebody else's by now, who writes them again.
        const { services } = this.#options.keys
        for (const host of forgotten) await this.#takeOut(host as HostId, (key) => key.startsWith(services))
      })
      .catch((error: unknown) =>
        this.#deps.log.debug('the list of removed hosts waits', { why: reasonOf(error) }),
      )
  }

  /** Takes the host's records and claims out of the store, so that its addresses are free again. */
  async #takeOut(id: HostId, stays: (key: string) => boolean): Promise<number> {
    const { store } = this.#deps
    const { keys } = this.#options
    const { entries } = await store.list(keys.prefix)
    const own = entries.filter(({ key, value }) => {
      const opened = openEnvelope(value)
      if (key === keys.settings || stays(key)) return false
      return opened.is === 'ok' && opened.value.key === id
    })
    const writes = [...own.map(({ key }) => key), keys.certificate(id)].map(
      (key): Write => ({ is: 'delete', key }),
    )
    for (let at = 0; at < writes.length; at += batch) await store.transact([], writes.slice(at, at + batch))
    return own.length
  }
}
