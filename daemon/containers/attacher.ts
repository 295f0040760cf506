/**
 * The network's side of `Containers`: plans an attachment and applies it, and edits resolv.conf. What an earlier
 * daemon attached and what still fits is left as it is.
 */
import type { Netns } from '../../linux/netns.ts'
import type { EngineContainer, Wish } from '../../model/engine.ts'
import { DroverError } from '../../model/errors.ts'
import type { Cidr, Ipv4 } from '../../model/ip.ts'
import type { NetworkApplier } from '../../network/apply.ts'
import { attachPlan } from '../../network/attach-plan.ts'
import type { Attachment } from '../../network/attachments.ts'
import type { NetworkNames } from '../../network/names.ts'
import { searchOf } from '../../network/resolv-conf.ts'
import { editResolvFile } from '../../network/resolv-file.ts'
import type { Attacher, AttachTarget } from './containers.ts'

export interface NetworkAttacherDeps {
  readonly applier: NetworkApplier
  readonly netns: Netns
  /** The host's managed address; undefined until it owns a block. */
  readonly hostAddress: () => Ipv4 | undefined
}

export interface NetworkAttacherOptions {
  readonly names: NetworkNames
  readonly subnet: Cidr
  readonly domain: string
  readonly mtu: number
  /** 169.254.169.250 */
  readonly servers: Ipv4
}

export class NetworkAttacher implements Attacher {
  readonly #deps: NetworkAttacherDeps
  readonly #options: NetworkAttacherOptions
  /** Attachments found at start, each trusted once. */
  readonly #found: Map<number, Attachment>

  constructor(deps: NetworkAttacherDeps, options: NetworkAttacherOptions, found: readonly Attachment[]) {
    this.#deps = deps
    this.#options = options
    this.#found = new Map(found.map((attachment) => [attachment.inode, attachment]))
  }

  inodeOf(pid: number): number | undefined {
    if (pid <= 0) return undefined
    const space = this.#deps.netns.open(pid)
    space?.close()
    return space?.inode
  }

  async attach(target: AttachTarget): Promise<void> {
    const found = this.#found.get(target.inode)
    this.#found.delete(target.inode)
    if (found?.complete && found.container === target.container && found.address === target.address) return
    const host = this.#deps.hostAddress()
    if (host === undefined) throw new DroverError('ATTACH_FAILED', 'the host has no address yet')
    await this.#deps.applier.attach(attachPlan(target, { ...this.#options, host }))
  }

  detach(inode: number): Promise<void> {
    return this.#deps.applier.detach(inode)
  }

  async resolve(container: EngineContainer, wish: Wish): Promise<void> {
    await editResolvFile(container.resolvConf, {
      nameserver: this.#options.servers,
      search: searchOf(wish, this.#options.domain),
      priority: wish.dnsPriority,
    })
  }
}
