/**
 * The services that people declared on this host: what it signs of them, and when it no longer does. What another
 * member signs under the same name takes the place of ours, and what is deleted stays away; what a removed host had
 * signed is taken over by the host that removes it. All that is known comes from the store itself.
 */
import { declaredLoop } from '../../dns/zone/declared.ts'
import type { Environment } from '../../model/environment.ts'
import { DroverError } from '../../model/errors.ts'
import type { Keys } from '../../model/keys.ts'
import type { Clock } from '../../model/ports.ts'
import {
  type DeclaredService,
  decodeRecord,
  encodeRecord,
  type HostId,
  serviceSchema,
} from '../../model/records.ts'
import { seconds } from '../../model/time.ts'
import { openEnvelope } from '../../pki/envelope.ts'
import type { Entry, Store, Update } from '../../store/store.ts'
import type { Live } from '../records/live.ts'

export interface DeclarationsDeps {
  readonly store: Store
  readonly live: Pick<Live, 'isLive' | 'forget'>
  readonly clock: Clock
  readonly environment: () => Environment | undefined
  readonly fresh: () => boolean
  /** Whether what stands under a key counts. */
  readonly counts: (key: string) => boolean
  /** Who signed what counts under a key. */
  readonly signerOf: (key: string) => HostId | undefined
  /** Whether the store was restored or emptied, and this host has not said again what holds. */
  readonly wentBack: () => boolean
  /** Something else is to be published. */
  readonly onChange: () => void
  /** The head no longer says what lives. */
  readonly onForget: () => void
}

export interface DeclarationsOptions {
  readonly keys: Keys
  readonly self: HostId
}

/** What `drover service ls` shows. */
export interface DeclaredView {
  readonly name: string
  readonly kind: DeclaredService['kind']
  readonly addresses: readonly string[]
  readonly hostname: string | null
  readonly alias: readonly string[]
  readonly links: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
  readonly metadata: Readonly<Record<string, unknown>>
  readonly scale: number | null
  readonly healthCheck: Readonly<Record<string, unknown>> | null
  /** Name of the host that signs it; null while nobody known does. */
  readonly host: string | null
}

/** How long a command waits for the store. */
const patience = seconds(10)

export class Declarations {
  readonly #deps: DeclarationsDeps
  readonly #options: DeclarationsOptions
  /** What this host signs, by key. */
  readonly #own = new Map<string, DeclaredService>()
  /** Those of them that have been seen standing: from then on somebody else's word may take their place. */
  readonly #seen = new Set<string>()
  readonly #waiting = new Set<() => void>()

  constructor(deps: DeclarationsDeps, options: DeclarationsOptions) {
    this.#deps = deps
    this.#options = options
  }

  /** To be published by this host. */
  get own(): ReadonlyMap<string, DeclaredService> {
    return this.#own
  }

  /** What the watch says, after the fold and the publisher have heard it. */
  observe(update: Update): void {
    if (update.is === 'stale') return
    if (update.is === 'snapshot') this.#startOver(update.entries)
    else {
      for (const change of update.changes) {
        if (change.is === 'put') this.#stands(change.entry)
        else if (change.key.startsWith(this.#options.keys.services)) this.#gone(change.key)
      }
    }
    for (const look of [...this.#waiting]) look()
  }

  /** Each takes the place of what was declared under its name; resolves when all stand in the store. */
  async declare(services: readonly DeclaredService[]): Promise<{ readonly names: readonly string[] }> {
    const environment = this.#ready()
    const before = new Map(this.#own)
    const loop = declaredLoop(
      new Map([...environment.services, ...services.map((one) => [nameOf(one), one] as const)]),
      environment.settings.domain,
    )
    if (loop !== undefined)
      throw new DroverError('SERVICE_INVALID', `these stand for each other: ${loop.join(' → ')}`)
    const keys = services.map((service) => this.#keyOf(service))
    for (const [at, service] of services.entries()) this.#take(keys[at] ?? '', service)
    this.#deps.onChange()
    await this.#until(() => keys.every((key) => this.#seen.has(key))).catch((error: unknown) => {
      for (const key of keys) this.#restore(key, before.get(key))
      this.#deps.onChange()
      throw error
    })
    return { names: services.map(nameOf) }
  }

  /** By `stack/service`; resolves when none of them stands in the store. */
  async withdraw(names: readonly string[]): Promise<{ readonly names: readonly string[] }> {
    const { services } = this.#ready()
    const keys = names.map((name) => {
      const service = services.get(name)
      if (service === undefined)
        throw new DroverError('USAGE', `no service ${name} is declared; see \`drover service ls\``)
      return this.#keyOf(service)
    })
    const foreign = keys.filter((key) => !this.#own.has(key))
    for (const key of keys) this.#forget(key)
    this.#deps.onChange()
    if (foreign.length > 0)
      await this.#deps.store.transact(
        [],
        foreign.map((key) => ({ is: 'delete' as const, key })),
      )
    await this.#until(() => keys.every((key) => this.#deps.signerOf(key) === undefined))
    return { names }
  }

  /** Takes over what a host has declared that is being removed; says under which keys. */
  inherit(host: HostId): ReadonlySet<string> {
    const taken = new Set<string>()
    for (const service of this.#deps.environment()?.services.values() ?? []) {
      const key = this.#keyOf(service)
      if (this.#deps.signerOf(key) !== host) continue
      this.#take(key, service)
      taken.add(key)
    }
    if (taken.size > 0) this.#deps.onChange()
    return taken
  }

  view(environment: Environment): readonly DeclaredView[] {
    const views = [...environment.services.values()].map((service): DeclaredView => {
      const { kind, hostname, links, labels, metadata, scale, healthCheck } = service
      const signer = this.#deps.signerOf(this.#keyOf(service))
      const host = signer === undefined ? undefined : environment.hosts.get(signer)?.record.name
      const [addresses, alias] = [service.externalIps, service.targets]
      const said = { kind, addresses, hostname, alias, links, labels, metadata, scale, healthCheck }
      return { name: nameOf(service), ...said, host: host ?? null }
    })
    return views.sort((one, other) => (one.name < other.name ? -1 : 1))
  }

  #keyOf({ stack, name }: DeclaredService): string {
    return this.#options.keys.service(stack, name)
  }

  #ready(): Environment {
    const environment = this.#deps.environment()
    if (environment === undefined || !this.#deps.fresh())
      throw new DroverError('STORE_UNAVAILABLE', 'nothing was changed; try again when it is back')
    return environment
  }

  #take(key: string, service: DeclaredService): void {
    const before = this.#own.get(key)
    if (before === undefined || encodeRecord(before) !== encodeRecord(service)) this.#seen.delete(key)
    this.#own.set(key, service)
  }

  #restore(key: string, before: DeclaredService | undefined): void {
    if (before === undefined) this.#forget(key)
    else this.#take(key, before)
  }

  #stands({ key, value }: Entry): void {
    if (!key.startsWith(this.#options.keys.services)) return
    const opened = openEnvelope(value)
    // What does not count says nothing, and the publisher puts ours back.
    if (opened.is === 'bad' || !this.#deps.counts(key)) return
    const { key: signer, counter, body } = opened.value
    if (signer === this.#options.self) {
      if (this.#deps.live.isLive(key, counter)) this.#adopt(key, body)
    } else if (this.#seen.has(key)) this.#giveUp(key)
  }

  /** Also what stands from before this process. */
  #adopt(key: string, body: string): void {
    const decoded = decodeRecord(serviceSchema, body)
    if (decoded.is === 'bad') return
    if (!this.#own.has(key)) this.#own.set(key, decoded.value)
    this.#seen.add(key)
  }

  #gone(key: string): void {
    if (this.#seen.has(key)) this.#giveUp(key)
  }

  /** A store that went back takes nothing back. */
  #startOver(entries: readonly Entry[]): void {
    const { keys, self } = this.#options
    const standing = new Set(entries.map(({ key }) => key))
    const emptied = this.#deps.wentBack() || !standing.has(keys.host(self))
    for (const key of this.#own.keys()) if (!standing.has(key) && !emptied) this.#gone(key)
    for (const entry of entries) this.#stands(entry)
  }

  #giveUp(key: string): void {
    this.#forget(key)
    this.#deps.live.forget(key)
    this.#deps.onForget()
  }

  #forget(key: string): void {
    this.#own.delete(key)
    this.#seen.delete(key)
  }

  #until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        timer.cancel()
        this.#waiting.delete(look)
        settle()
      }
      const look = (): void => {
        if (holds()) end(resolve)
      }
      const timer = this.#deps.clock.after(patience, () =>
        end(() => reject(new DroverError('STORE_UNAVAILABLE', 'the change may or may not be in it'))),
      )
      this.#waiting.add(look)
    })
  }
}

const nameOf = ({ stack, name }: DeclaredService): string => `${stack}/${name}`
