/**
 * The managed containers of this host: who has which address and is attached where. Level-triggered: it is
 * given whole engine states, settles every container that differs, one step at a time each, and retries what
 * failed. It never tears down what an earlier daemon attached and what still fits.
 */
import type { EngineContainer, Wish } from '../../model/engine.ts'
import { DroverError, reasonOf } from '../../model/errors.ts'
import { formatIpv4, type Ipv4 } from '../../model/ip.ts'
import type { Clock, Log, Meter, Timer } from '../../model/ports.ts'
import type { ContainerId } from '../../model/records.ts'
import { millis } from '../../model/time.ts'

export type Grant =
  | { readonly is: 'address'; readonly address: Ipv4; readonly problem?: string }
  | { readonly is: 'waiting'; readonly why: string }
  | { readonly is: 'refused'; readonly why: string }

/** Who owns which address; `ipam/` behind it. */
export interface Addresses {
  allocate(container: ContainerId, requested: readonly string[]): Promise<Grant>
  addressOf(container: ContainerId): Ipv4 | undefined
  stopped(container: ContainerId): void
  /** The container is gone for good. */
  removed(container: ContainerId): void
}

/** Links into network namespaces; `network/` behind it. */
export interface Attacher {
  /** Inode of a process' network namespace; undefined when it is gone. */
  inodeOf(pid: number): number | undefined
  attach(target: AttachTarget): Promise<void>
  detach(inode: number): Promise<void>
  /** Points the container's resolver to us. */
  resolve(container: EngineContainer, wish: Wish): Promise<void>
}

export interface AttachTarget {
  readonly container: ContainerId
  readonly pid: number
  readonly inode: number
  readonly address: Ipv4
  /** It has no other network. */
  readonly outward: boolean
}

/** One managed container, as far as it has come. */
export interface Held {
  readonly container: EngineContainer
  readonly wish: Wish
  readonly address: Ipv4 | null
  readonly problems: readonly string[]
  /** Whether everything that could be done for its present state was done once. */
  readonly settled: boolean
}

interface Keeping {
  container: EngineContainer
  wish: Wish
  address: Ipv4 | null
  problems: readonly string[]
  settled: boolean
  /** Namespace that holds its attachment. */
  inode: number | undefined
  /** Whose attachment it uses, where it shares a namespace. */
  owner: ContainerId | undefined
  /** Start of the run that was attached. */
  linked: number
  /** Start of the run whose resolv.conf was edited. */
  resolved: number
  busy: boolean
  again: boolean
  failures: number
  retry: Timer | undefined
}

export interface ContainersDeps {
  readonly addresses: Addresses
  readonly attacher: Attacher
  readonly wishOf: (container: EngineContainer) => Wish
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** Something that is published has changed. */
  readonly onChange: () => void
}

export interface ContainersOptions {
  readonly environment: string
  /** Inode of the host's own network namespace: nothing is ever attached to it. */
  readonly hostInode: number
}

const firstRetry = 250
const lastRetry = 10_000

const isOlder = (one: EngineContainer, other: EngineContainer): boolean =>
  one.createdAt < other.createdAt || (one.createdAt === other.createdAt && one.id < other.id)

const runs = ({ state }: EngineContainer): boolean => state === 'running' || state === 'paused'

export class Containers {
  readonly #deps: ContainersDeps
  readonly #options: ContainersOptions
  readonly #kept = new Map<ContainerId, Keeping>()
  #closed = false

  constructor(deps: ContainersDeps, options: ContainersOptions) {
    this.#deps = deps
    this.#options = options
  }

  held(): readonly Held[] {
    return [...this.#kept.values()]
  }

  /** All that the engine has now. */
  apply(containers: ReadonlyMap<ContainerId, EngineContainer>): void {
    for (const id of this.#kept.keys()) if (!containers.has(id)) this.#forget(id)
    // All are known before the first is settled, because they may share namespaces.
    const changed = [...containers.values()].filter((container) => this.#take(container))
    for (const { id } of changed) this.#settle(id)
  }

  /** Settles again whoever no longer has what it had: a block was lost, or somebody removed an attachment. */
  recheck(attached: ReadonlyMap<number, Ipv4> | undefined): void {
    for (const [id, one] of this.#kept) {
      if (one.busy || !one.settled || one.inode === undefined) continue
      const lost = this.#deps.addresses.addressOf(one.owner ?? id) !== (one.address ?? undefined)
      const torn = attached !== undefined && attached.get(one.inode) !== one.address
      if (torn) one.inode = undefined
      if (lost || torn) this.#settle(id)
    }
  }

  /** Cuts off whoever lost its address to another host, at once; it then gets another one. */
  lose(lost: readonly ContainerId[]): void {
    for (const id of lost) {
      const one = this.#kept.get(id)
      if (one === undefined) continue
      this.#letGo(one)
      one.address = null
      this.#settle(id)
    }
  }

  close(): void {
    this.#closed = true
    for (const one of this.#kept.values()) one.retry?.cancel()
  }

  /** Whether it is ours and not as it was. */
  #take(container: EngineContainer): boolean {
    const known = this.#kept.get(container.id)
    if (known?.container === container) return false
    const wish = this.#deps.wishOf(container)
    if (!wish.managed || wish.environment !== this.#options.environment) return false
    if (known === undefined) this.#kept.set(container.id, fresh(container, wish))
    else Object.assign(known, { container, wish })
    return true
  }

  #forget(id: ContainerId): void {
    const one = this.#kept.get(id)
    if (one === undefined) return
    one.retry?.cancel()
    this.#kept.delete(id)
    this.#letGo(one)
    this.#orphan(id)
    this.#deps.addresses.removed(id)
    this.#deps.log.info('container released', { container: one.container.name, ...addressField(one.address) })
    this.#deps.onChange()
  }

  /** Runs the steps of one container, and once more when it changed meanwhile. */
  #settle(id: ContainerId): void {
    const one = this.#kept.get(id)
    if (one === undefined || this.#closed) return
    one.again = true
    if (one.busy) return
    one.busy = true
    one.retry?.cancel()
    void this.#steps(id, one)
  }

  async #steps(id: ContainerId, one: Keeping): Promise<void> {
    while (one.again && this.#kept.get(id) === one && !this.#closed) {
      one.again = false
      try {
        if (runs(one.container)) await this.#connect(one)
        else this.#rest(one)
        one.failures = 0
      } catch (error) {
        this.#failed(id, one, error)
      }
      one.settled = true
      this.#deps.onChange()
    }
    // In the same step as the look at `again`: whoever asks later finds nobody busy.
    one.busy = false
  }

  async #connect(one: Keeping): Promise<void> {
    const { container, wish } = one
    const inode = this.#deps.attacher.inodeOf(container.pid)
    if (inode === undefined) return
    if (inode === this.#options.hostInode) return this.#onHostNetwork(one)
    const owner = this.#namespaceOwner(one, inode)
    if (owner !== undefined) return this.#share(one, owner)
    const resolving = this.#resolve(one)
    const grant = await this.#deps.addresses.allocate(container.id, wish.requestedAddresses)
    if (grant.is !== 'address') {
      await resolving
      throw new DroverError(grant.is === 'refused' ? 'ADDRESS_REFUSED' : 'ADDRESS_SPACE_FULL', grant.why)
    }
    await this.#link(one, inode, grant.address)
    await resolving
    one.problems = grant.problem === undefined ? [] : [grant.problem]
    this.#settleSharers(container.id)
  }

  async #link(one: Keeping, inode: number, address: Ipv4): Promise<void> {
    const { startedAt } = one.container
    // The kernel gives the inode of a namespace that is gone to the next one: the run counts as well.
    if (one.inode === inode && one.address === address && one.linked === startedAt) return
    const { attacher, clock, log, meter } = this.#deps
    const { container } = one
    const begun = clock.boot()
    await attacher.attach({
      container: container.id,
      pid: container.pid,
      inode,
      address,
      outward: container.network.is === 'none',
    })
    meter.observe('drover_attach_seconds', (clock.boot() - begun) / 1000)
    one.inode = inode
    one.owner = undefined
    one.linked = startedAt
    one.address = address
    log.info('container attached', { container: container.name, ...addressField(address) })
  }

  /** Editing resolv.conf comes after every start, because Docker writes the file anew. */
  async #resolve(one: Keeping): Promise<void> {
    const { container, wish } = one
    if (!wish.dns || container.resolvConf === '' || one.resolved === container.startedAt) return
    try {
      await this.#deps.attacher.resolve(container, wish)
      one.resolved = container.startedAt
    } catch (err) {
      this.#deps.log.warn('resolv.conf could not be edited', { container: container.name, err })
    }
  }

  /**
   * Whose attachment a container in a shared namespace uses: that of the container which it named, where that is
   * managed; else that of the oldest managed one in there.
   */
  #namespaceOwner(one: Keeping, inode: number): Keeping | undefined {
    const { network } = one.container
    if (network.is !== 'container') return undefined
    const isIn = (other: Keeping): boolean =>
      runs(other.container) && this.#deps.attacher.inodeOf(other.container.pid) === inode
    const named = this.#kept.get(network.container)
    if (named !== undefined && isIn(named)) return named
    return [...this.#kept.values()]
      .filter(
        (other) => other.container.network.is === 'container' && isOlder(other.container, one.container),
      )
      .sort((a, b) => (isOlder(a.container, b.container) ? -1 : 1))
      .find(isIn)
  }

  #share(one: Keeping, owner: Keeping): void {
    if (one.address !== owner.address && owner.address !== null) {
      this.#deps.log.info('container shares the address of another', {
        container: one.container.name,
        with: owner.container.name,
        ...addressField(owner.address),
      })
    }
    one.address = owner.address
    one.inode = owner.inode
    one.owner = owner.container.id
    one.problems = []
    if (this.#deps.addresses.addressOf(one.container.id) !== undefined)
      this.#deps.addresses.removed(one.container.id)
  }

  /** Settles whoever uses, or should use, the attachment of this one and does not have its address. */
  #settleSharers(owner: ContainerId): void {
    const address = this.#kept.get(owner)?.address
    for (const [id, one] of this.#kept) {
      const { network } = one.container
      const names = network.is === 'container' && network.container === owner
      if ((names || one.owner === owner) && one.address !== address) this.#settle(id)
    }
  }

  /** Settles whoever used the attachment of one that no longer runs. */
  #orphan(owner: ContainerId): void {
    for (const [id, one] of this.#kept) if (one.owner === owner) this.#settle(id)
  }

  #onHostNetwork(one: Keeping): void {
    if (!one.settled)
      this.#deps.log.info('container is on the host network, its label is ignored', {
        container: one.container.name,
      })
    one.address = null
    one.problems = [] // its labels have said it
  }

  /** A container that does not run keeps its address; the kernel has removed its attachment with its namespace. */
  #rest(one: Keeping): void {
    this.#letGo(one)
    this.#orphan(one.container.id)
    one.address ??= this.#deps.addresses.addressOf(one.container.id) ?? null
    this.#deps.addresses.stopped(one.container.id)
  }

  #letGo(one: Keeping): void {
    const { inode } = one
    one.inode = undefined
    const shared = [...this.#kept.values()].some(
      (other) => other !== one && other.inode === inode && runs(other.container),
    )
    if (inode === undefined || shared) return
    void this.#deps.attacher.detach(inode).catch((err: unknown) => {
      this.#deps.log.warn('container could not be detached', { container: one.container.name, err })
    })
  }

  #failed(id: ContainerId, one: Keeping, error: unknown): void {
    const { clock, log, meter } = this.#deps
    const why = error instanceof DroverError ? error.message : reasonOf(error)
    const delay = millis(Math.min(lastRetry, firstRetry * 2 ** one.failures++))
    if (!one.problems.includes(why))
      log.warn('container cannot be attached yet', { container: one.container.name, why })
    one.problems = [why]
    meter.count('drover_failures_total', 1, { what: 'attach' })
    one.retry = clock.after(delay, () => this.#settle(id))
  }
}

const fresh = (container: EngineContainer, wish: Wish): Keeping => ({
  container,
  wish,
  address: null,
  problems: [],
  settled: false,
  inode: undefined,
  owner: undefined,
  linked: 0,
  resolved: 0,
  busy: false,
  again: false,
  failures: 0,
  retry: undefined,
})

const addressField = (address: Ipv4 | null): { readonly address?: string } =>
  address === null ? {} : { address: formatIpv4(address) }
