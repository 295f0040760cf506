/**
 * Brings the machine to what the plans say, and back. Level-triggered and idempotent: it reads what is, changes
 * what differs, and finds by name what an earlier daemon made. An attach is three processes, two of them side by
 * side; a failed one leaves nothing on the host, a cut-off one is mended by the next.
 */

import type { Ip, Link } from '../linux/ip.ts'
import type { Iptables } from '../linux/iptables.ts'
import type { Netns, OpenNetns } from '../linux/netns.ts'
import type { Nft, NftTable } from '../linux/nft.ts'
import type { Sysctl } from '../linux/sysctl.ts'
import { DroverError, reasonOf } from '../model/errors.ts'
import { type Cidr, formatIpv4, parseCidr } from '../model/ip.ts'
import type { Log } from '../model/ports.ts'
import { type AttachPlan, hostLines, insideLines, vethLine } from './attach-plan.ts'
import { type Attachment, attachmentsOf, elementsOf, namelessOf, pairOf } from './attachments.ts'
import { hostChanges, type KernelState, leaveLines, linkChanges } from './host-changes.ts'
import { type HostPlan, signatureOf } from './host-plan.ts'
import { answering, managedDevice, type NetworkNames, rulePriority, tablePrefix } from './names.ts'
import { addElements, elementChanges, removeElements, tableText, withoutTable } from './ruleset.ts'

export interface ApplierDeps {
  readonly ip: Ip
  readonly nft: Nft
  readonly iptables: Iptables
  readonly sysctl: Sysctl
  readonly netns: Netns
  readonly log: Log
}

export interface HostOutcome {
  /** How many things differed and were changed. */
  readonly changes: number
  /** Of these, what no container has to do with: with an unchanged plan, somebody else's doing. */
  readonly own: number
  /** Whether the tunnel's device is there to carry the routes. */
  readonly tunnel: boolean
}

export class NetworkApplier {
  readonly #deps: ApplierDeps
  readonly #names: NetworkNames
  /** By inode; what the kernel had when it was last asked, and what was done since. */
  #known: Map<number, Attachment> | undefined
  /** The last work for each inode, so that two never work on one namespace at once. */
  readonly #busy = new Map<number, Promise<unknown>>()
  /** The last work on the whole: what it reads must not change under it. */
  #whole: Promise<unknown> = Promise.resolve()
  /** The last host plan that was applied in full. */
  #applied = ''

  constructor(deps: ApplierDeps, options: { readonly names: NetworkNames }) {
    this.#deps = deps
    this.#names = options.names
  }

  /** What is attached according to the kernel. */
  attached(): Promise<readonly Attachment[]> {
    return this.#exclusively(() => this.#reload())
  }

  /**
   * Addresses, routes, walls and Docker's permission. With `trust`, a plan that is the last one applied is taken
   * as done; without, the kernel is compared and mended: now and then, and when the tunnel's device was made.
   */
  async applyHost(plan: HostPlan, how: 'verify' | 'trust' = 'verify'): Promise<HostOutcome> {
    const signature = signatureOf(plan)
    if (how === 'trust' && signature === this.#applied) return { changes: 0, own: 0, tunnel: true }
    const outcome = await this.#exclusively(() => this.#applyHost(plan))
    this.#applied = outcome.tunnel ? signature : ''
    return outcome
  }

  async #applyHost(plan: HostPlan): Promise<HostOutcome> {
    const { ip, nft } = this.#deps
    const [found, routes, neighbours, table, answers] = await Promise.all([
      ip.links(),
      ip.routes(),
      ip.neighbours(),
      nft.table('inet', this.#names.table),
      this.#answers(plan),
    ])
    const attachments = this.#remember(found)
    const intact = isIntact(plan, table)
    const walls = wallText(plan, attachments, intact ? table : undefined)
    await nft.apply(walls) // first: nothing is routed before the walls stand
    const { links, made } = await this.#peerLinks(plan, found)
    const lines = hostChanges(this.#names, plan, attachments, { links, routes, neighbours, ...answers })
    await ip.batch(lines)
    const outward = attachments.some((attachment) => attachment.outward)
    const permitted = await this.#permit(plan.subnet, outward)
    const there = links.filter(({ name }) => plan.devices.includes(name))
    const switched = await Promise.all(there.map(({ name }) => this.#forward(name, there.length > 1)))
    const also = [permitted, switched.includes(true)].filter(Boolean).length
    const own = lines.length + made + also + (intact ? 0 : 1)
    const changes = lines.length + made + also + (walls === '' ? 0 : 1)
    return { changes, own, tunnel: there.some(({ name }) => name === plan.tunnel.name) }
  }

  /** Rules and tables of answers, where they were ever needed. */
  async #answers({ answers }: Pick<HostPlan, 'answers'>): Promise<Pick<KernelState, 'rules' | 'tables'>> {
    const { ip } = this.#deps
    const rules = (await ip.rules()).filter(({ priority }) => priority === rulePriority)
    const tables = Object.values(answering).map(({ table }) => table)
    if (rules.length === 0 && answers.length === 0) return { rules, tables: new Map() }
    const routes = await Promise.all(tables.map((table) => ip.routes({}, table)))
    return { rules, tables: new Map(tables.map((table, at) => [table, routes[at] ?? []])) }
  }

  /** Makes the interfaces of peers; without one, its peer is reached by another backend. */
  async #peerLinks(plan: HostPlan, links: readonly Link[]) {
    const { ip, log } = this.#deps
    let made = 0
    for (const lines of linkChanges(plan, links))
      await ip.batch(lines).then(
        () => made++,
        (err: unknown) => log.warn('the interface of a peer cannot be made', { err }),
      )
    return { links: made === 0 ? links : await ip.links(), made }
  }

  /** Attaches a container, or mends its attachment; rejects with ATTACH_FAILED when it cannot be. */
  attach(plan: AttachPlan): Promise<void> {
    return this.#alone(plan.inode, () => this.#attach(plan))
  }

  /** Releases a namespace; nothing happens where none of ours is attached to it. */
  detach(inode: number): Promise<void> {
    return this.#alone(inode, async () => {
      if (this.#known?.has(inode) !== true) await this.#reload()
      const attachment = this.#known?.get(inode)
      if (attachment !== undefined) await this.#release([attachment])
    })
  }

  /** Undoes everything that this environment ever did to the machine. `subnet` helps where our table is gone. */
  leave(subnet?: Cidr): Promise<void> {
    return this.#exclusively(() => this.#leave(subnet))
  }

  async #leave(subnet?: Cidr): Promise<void> {
    const { ip, nft, iptables } = this.#deps
    const links = await ip.links()
    const own = attachmentsOf(this.#names, links)
    await this.#each([...own.map(({ link }) => link), ...namelessOf(this.#names, links)].map(deletion))
    this.#known = new Map()
    this.#applied = ''
    await iptables.remove(this.#names.comment)
    const [table, tables, after, routes, answers] = await Promise.all([
      nft.table('inet', this.#names.table),
      nft.tables('inet'),
      ip.links(),
      ip.routes(),
      this.#answers({ answers: [] }),
    ])
    const others = tables.filter((name) => name.startsWith(tablePrefix) && name !== this.#names.table)
    const recorded = parseCidr(table?.sets.get('subnet')?.[0] ?? '') ?? subnet
    const kernel = { links: after, routes, ...answers }
    await this.#each(leaveLines(this.#names, recorded, kernel, others.length === 0))
    if (table !== undefined) await nft.apply(withoutTable(this.#names.table)) // last: it names the subnet
  }

  async #attach(plan: AttachPlan): Promise<void> {
    const space = this.#deps.netns.open(plan.pid)
    try {
      if (space?.inode !== plan.inode) throw attachFailed(plan, 'its network namespace is gone')
      await this.#connectTwice(plan, space)
      this.#known?.set(plan.inode, { ...plan, complete: true })
    } finally {
      space?.close()
    }
  }

  /** Memory may be wrong, so the second attempt asks the kernel first; after that it is a fault. */
  async #connectTwice(plan: AttachPlan, space: OpenNetns): Promise<void> {
    try {
      await this.#connect(plan, space)
    } catch (first) {
      this.#deps.log.debug('attach starts over from what the kernel has', { err: first })
      const found = await this.#reload()
      // a veth without its alias: an attach that was cut off after its first line
      if (!found.some(({ link }) => link === plan.link)) await this.#each([deletion(plan.link)])
      try {
        await this.#connect(plan, space)
      } catch (cause) {
        await this.#release([{ ...plan, complete: false }])
        throw attachFailed(plan, blamed(reasonOf(cause)), cause)
      }
    }
  }

  async #connect(plan: AttachPlan, space: OpenNetns): Promise<void> {
    const { ip, nft, sysctl } = this.#deps
    const known = await this.#attachments()
    const present = known.get(plan.inode)
    const same = present?.link === plan.link && present.address === plan.address
    const inTheWay = [...known.values()].filter(
      (other) =>
        (other.inode === plan.inode && !same) || (other.address === plan.address && other !== present),
    )
    if (inTheWay.length > 0) await this.#release(inTheWay)
    if (plan.outward) await this.#permit(plan.subnet, true)
    const { table } = this.#names
    await settled([
      ip.batch([...(same ? [] : [vethLine(plan, space.path)]), ...hostLines(plan)]),
      nft.apply(
        addElements(table, 'veths', [plan.link]) +
          addElements(table, 'allowed', [pairOf(plan)]) +
          addElements(table, 'outward', plan.outward ? [formatIpv4(plan.address)] : []),
      ),
    ])
    await settled([
      ip.batch(insideLines(plan), { netns: space.path }),
      sysctl.write(forwardingOf(plan.link), '1'),
    ])
  }

  /** Removes veths and their permissions, whether they are still there or not. */
  async #release(attachments: readonly Attachment[]): Promise<void> {
    const { table } = this.#names
    const gone = elementsOf(attachments)
    const text =
      removeElements(table, 'allowed', gone.get('allowed') ?? []) +
      removeElements(table, 'veths', gone.get('veths') ?? []) +
      removeElements(table, 'outward', gone.get('outward') ?? [])
    await settled([
      this.#each(attachments.map(({ link }) => deletion(link))),
      this.#deps.nft.apply(text).catch(unlessGone),
    ])
    for (const { inode, link } of attachments)
      if (this.#known?.get(inode)?.link === link) this.#known.delete(inode)
  }

  async #attachments(): Promise<Map<number, Attachment>> {
    if (this.#known === undefined) await this.#reload()
    return this.#known ?? new Map()
  }

  async #reload(): Promise<readonly Attachment[]> {
    return this.#remember(await this.#deps.ip.links())
  }

  #remember(links: readonly Link[]): readonly Attachment[] {
    const found = attachmentsOf(this.#names, links)
    this.#known = new Map(found.map((attachment) => [attachment.inode, attachment]))
    return found
  }

  /** Docker's FORWARD policy is DROP; ours is decided by our own table, so this may be wide. */
  #permit(subnet: Cidr, outward: boolean): Promise<boolean> {
    const overlay = `-s ${subnet} -d ${subnet}`
    const world = [`-s ${subnet}`, `-d ${subnet} -m conntrack --ctstate RELATED,ESTABLISHED`]
    return this.#deps.iptables.ensure(this.#names.comment, outward ? [overlay, ...world] : [overlay])
  }

  /**
   * Whether something had to be switched. `several`: a peer may come in by either of them, so that the kernel must not
   * drop what it would send by another; who may send from what is the table's to decide.
   */
  async #forward(link: string, several: boolean): Promise<boolean> {
    const { sysctl } = this.#deps
    const wanted: [string, string][] = [[forwardingOf(link), '1']]
    if (several) wanted.push([`net/ipv4/conf/${link}/rp_filter`, loose])
    let changed = false
    for (const [path, value] of wanted) {
      if ((await sysctl.read(path)) === value) continue
      await sysctl.write(path, value)
      changed = true
    }
    return changed
  }

  async #each(lines: readonly string[]): Promise<void> {
    const { ip } = this.#deps
    await ip.batch(lines).catch(async () => {
      for (const line of lines) await ip.batch([line]).catch(unlessGone)
    })
  }

  /** One after the other for each namespace, side by side for different ones. */
  #alone<T>(inode: number, action: () => Promise<T>): Promise<T> {
    const result = Promise.allSettled([this.#busy.get(inode), this.#whole]).then(action)
    const mark = result.then(nothing, nothing)
    this.#busy.set(inode, mark)
    void mark.then(() => {
      if (this.#busy.get(inode) === mark) this.#busy.delete(inode)
    })
    return result
  }

  /** Nothing else at the same time. */
  #exclusively<T>(action: () => Promise<T>): Promise<T> {
    const result = Promise.allSettled([...this.#busy.values(), this.#whole]).then(action)
    this.#whole = result.then(nothing, nothing)
    return result
  }
}

const nothing = (): void => {}

/** RFC 3704 2.4. */
const loose = '2'

const isIntact = ({ ruleset }: HostPlan, table: NftTable | undefined): boolean =>
  table?.chains.includes(ruleset.version) === true && table.rules === ruleset.rules

/** The nft commands towards the plan; empty when the table is as it should be. `intact`: it has these rules. */
function wallText(
  { ruleset, elements }: HostPlan,
  attachments: readonly Attachment[],
  intact: NftTable | undefined,
): string {
  const wanted = new Map([...elements, ...elementsOf(attachments)])
  return intact === undefined
    ? tableText(ruleset, wanted)
    : elementChanges(ruleset.table, intact.sets, wanted)
}

const forwardingOf = (link: string): string => `net/ipv4/conf/${link}/forwarding`

const deletion = (link: string): string => `link del dev ${link}`

/** What is being removed may go by itself at any moment. */
function unlessGone(thrown: unknown): void {
  const gone =
    /Cannot find device|No such process|No such device|No such file or directory|Cannot assign requested address/
  if (!gone.test(reasonOf(thrown))) throw thrown
}

/** All of them, also when one fails: nothing may still be at work when the caller undoes it. */
async function settled(actions: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(actions))
    if (result.status === 'rejected') throw result.reason
}

/** A namespace has one `managed0`: of containers that share it, one environment can have them. */
const blamed = (why: string): string =>
  why.includes('File exists') ? `its network has a ${managedDevice} already, of another environment` : why

const attachFailed = (plan: AttachPlan, why: string, cause?: unknown): DroverError =>
  new DroverError('ATTACH_FAILED', why, {
    fields: { container: plan.container, address: formatIpv4(plan.address) },
    cause,
  })
