/**
 * The tree that is shown now, as a source of answers: takes changes, projects them, and says whether anything
 * that clients can see became another one.
 */
import type { Environment } from '../model/environment.ts'
import type { Source } from './answers.ts'
import { type Asker, type Askers, askersOf } from './asker.ts'
import { changedBy, type Delta } from './delta.ts'
import type { Client } from './forwarded.ts'
import { Pieces } from './pieces.ts'
import type { Choice } from './prometheus.ts'
import { type Tree, treeOf } from './tree.ts'
import type { Dict, Value } from './value.ts'
import { versionNames, versionOf } from './versions.ts'
import type { Scope } from './view.ts'

export interface LiveTreeOptions {
  /** What a container sees of the environment. */
  readonly scope: Scope
}

export class LiveTree implements Source {
  readonly pieces = new Pieces()
  readonly #isOwn: (address: string) => boolean
  readonly #scope: Scope
  #environment: Environment | undefined
  #tree: Tree | undefined
  #askers: Askers | undefined
  #generation = 0

  /** `isOwn` says whether an address is one of this machine's. */
  constructor({ isOwn }: { readonly isOwn: (address: string) => boolean }, { scope }: LiveTreeOptions) {
    this.#isOwn = isOwn
    this.#scope = scope
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

  get generation(): number {
    return this.#generation
  }

  apply(delta: Delta): void {
    this.#environment = changedBy(this.#environment, delta)
    if (this.#environment === undefined) return
    this.reconsider()
    const options = { scope: this.#scope, former: this.#tree }
    this.#tree = treeOf(this.#environment, this.pieces, options)
  }

  /** Addresses of this machine changed: who asks may be somebody else. */
  reconsider(): void {
    this.#askers = undefined
    this.#generation += 1
  }

  root(name: string, client: Client): Dict | undefined {
    const version = versionOf(name)
    if (version === undefined || this.#tree === undefined || this.#environment === undefined) return undefined
    return this.#tree.root(version, this.#asker(this.#environment, client))
  }

  isPersonal([first]: readonly string[]): boolean {
    return this.#scope !== 'environment' || first === undefined || first.toLowerCase() === 'self'
  }

  targets(client: Client, choice: Choice): Value | undefined {
    if (this.#environment === undefined) return undefined
    return this.#tree?.targets(this.#asker(this.#environment, client), choice)
  }

  reason(client: Client): string | undefined {
    if (this.#environment === undefined) return undefined
    const { is } = this.#asker(this.#environment, client)
    return is === 'ambiguous' ? 'more than one container has this address' : undefined
  }

  #asker(environment: Environment, client: Client): Asker {
    this.#askers ??= askersOf(environment, this.#isOwn)
    return this.#askers.at(client)
  }
}
