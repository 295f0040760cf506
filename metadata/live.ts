/**
 * The tree that is shown now, as a source of answers: takes changes, projects them, and says whether anything
 * that clients can see became another one.
 */
import type { Environment } from '../model/environment.ts'
import type { Source } from './answer.ts'
import { type Asker, type Askers, askersOf } from './asker.ts'
import { changedBy, type Delta } from './delta.ts'
import { Pieces } from './pieces.ts'
import { type Tree, treeOf } from './tree.ts'
import type { Dict } from './value.ts'
import { versionNames, versionOf } from './versions.ts'

export class LiveTree implements Source {
  readonly pieces = new Pieces()
  readonly #isOwn: (address: string) => boolean
  #environment: Environment | undefined
  #tree: Tree | undefined
  #askers: Askers | undefined

  /** `isOwn` says whether an address is one of this machine's. */
  constructor({ isOwn }: { readonly isOwn: (address: string) => boolean }) {
    this.#isOwn = isOwn
  }

  get versions(): readonly string[] {
    return this.#tree === undefined ? [] : versionNames
  }

  get revision(): number {
    return this.#tree?.revision ?? 0
  }

  get version(): string {
    return this.#tree?.version ?? ''
  }

  apply(delta: Delta): void {
    this.#environment = changedBy(this.#environment, delta)
    if (this.#environment === undefined) return
    this.#askers = undefined
    this.#tree = treeOf(this.#environment, this.pieces)
  }

  root(name: string, client: string): Dict | undefined {
    const version = versionOf(name)
    if (version === undefined || this.#tree === undefined || this.#environment === undefined) return undefined
    return this.#tree.root(version, this.#asker(this.#environment, client))
  }

  reason(client: string): string | undefined {
    if (this.#environment === undefined) return undefined
    const { is } = this.#asker(this.#environment, client)
    return is === 'ambiguous' ? 'more than one container has this address' : undefined
  }

  #asker(environment: Environment, client: string): Asker {
    this.#askers ??= askersOf(environment, this.#isOwn)
    return this.#askers.at(client)
  }
}
