/**
 * What an earlier daemon left attached: kept where the allocator agrees, undone where nobody needs it any more.
 */
import type { EngineContainer } from '../../model/engine.ts'
import type { Ipv4 } from '../../model/ip.ts'
import type { Log } from '../../model/ports.ts'
import type { ContainerId } from '../../model/records.ts'
import type { Attachment } from '../../network/attachments.ts'

export interface AdoptionDeps {
  /** Whether the container may keep the address. */
  readonly adopt: (container: ContainerId, address: Ipv4) => boolean
  readonly detach: (inode: number) => Promise<void>
  readonly log: Log
}

export class Adoption {
  readonly #deps: AdoptionDeps
  readonly #found: readonly Attachment[]

  constructor(deps: AdoptionDeps, found: readonly Attachment[]) {
    this.#deps = deps
    this.#found = found
  }

  /** Puts what is attached into the allocator's book. */
  adopt(): void {
    for (const attachment of this.#found) {
      if (!this.#deps.adopt(attachment.container, attachment.address))
        this.#undo(attachment, 'its address is no longer ours')
    }
  }

  /** Undoes attachments whose container does not run. */
  prune(containers: ReadonlyMap<ContainerId, EngineContainer>): void {
    for (const attachment of this.#found) {
      const state = containers.get(attachment.container)?.state
      if (state !== 'running' && state !== 'paused') this.#undo(attachment, 'its container does not run')
    }
  }

  #undo({ inode, container }: Attachment, why: string): void {
    this.#deps.log.info('attachment of an earlier daemon removed', { container: container.slice(0, 12), why })
    this.#deps.detach(inode).catch((err: unknown) => {
      this.#deps.log.warn('attachment of an earlier daemon could not be removed', {
        container: container.slice(0, 12),
        err,
      })
    })
  }
}
