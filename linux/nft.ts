/**
 * nftables: a text of `nft` commands is applied as one transaction, all or nothing; tables are read as JSON.
 * It knows no table by name.
 */
import type { Runner } from './run.ts'

export interface NftTable {
  readonly chains: readonly string[]
  /** How many rules all chains hold together. */
  readonly rules: number
  /** Elements by set; the parts of a concatenation are joined with ` . `. */
  readonly sets: ReadonlyMap<string, readonly string[]>
}

export interface Nft {
  /** All or nothing; no process at all for an empty text. */
  apply(ruleset: string): Promise<void>
  /** Undefined where there is no such table. */
  table(family: string, name: string): Promise<NftTable | undefined>
  /** Names of the tables of a family. */
  tables(family: string): Promise<readonly string[]>
}

interface RawObject {
  table?: { name: string }
  chain?: { name: string }
  rule?: object
  set?: { name: string; elem?: unknown[] }
}

export class CommandNft implements Nft {
  readonly #runner: Runner

  constructor(deps: { readonly runner: Runner }, _options: object) {
    this.#runner = deps.runner
  }

  async apply(ruleset: string): Promise<void> {
    if (ruleset.trim() !== '') await this.#runner.run(['nft', '-f', '-'], { input: ruleset })
  }

  async table(family: string, name: string): Promise<NftTable | undefined> {
    const argv = ['nft', '-j', 'list', 'table', family, name]
    const output = await this.#runner.attempt(argv)
    if (output.status === 0) return tableOf(objectsOf(output.stdout))
    if (output.stderr.includes('No such file or directory')) return undefined
    await this.#runner.run(argv) // says why, unless it was a passing trouble
    return undefined
  }

  async tables(family: string): Promise<readonly string[]> {
    const text = await this.#runner.run(['nft', '-j', 'list', 'tables', family])
    return objectsOf(text).flatMap(({ table }) => (table === undefined ? [] : [table.name]))
  }
}

const objectsOf = (text: string): readonly RawObject[] =>
  (JSON.parse(text) as { nftables: RawObject[] }).nftables

function tableOf(objects: readonly RawObject[]): NftTable {
  const chains = objects.flatMap(({ chain }) => (chain === undefined ? [] : [chain.name]))
  const rules = objects.filter(({ rule }) => rule !== undefined).length
  const sets = objects.flatMap(({ set }): [string, string[]][] =>
    set === undefined ? [] : [[set.name, (set.elem ?? []).map(elementOf)]],
  )
  return { chains, rules, sets: new Map(sets) }
}

/** One element as `nft` would be told it. */
function elementOf(raw: unknown): string {
  if (typeof raw === 'string' || typeof raw === 'number') return String(raw)
  const { concat, prefix, elem } = raw as {
    concat?: unknown[]
    prefix?: { addr: string; len: number }
    elem?: { val: unknown }
  }
  if (concat !== undefined) return concat.map(elementOf).join(' . ')
  if (prefix !== undefined) return `${prefix.addr}/${prefix.len}`
  return elem === undefined ? JSON.stringify(raw) : elementOf(elem.val)
}
