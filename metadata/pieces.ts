/**
 * The objects of a tree, made once and kept for as long as what they are made of stays the same: equal parts of
 * two snapshots give identical objects (`===`), so that finished texts of them can be kept as well.
 * Forgetting is automatic; keeping never changes an answer.
 */
import type { ContainerRecord } from '../model/records.ts'
import { containerOf, portsOf, type Surroundings } from './container.ts'
import { digestOf } from './digest.ts'
import { jsonOf, type PieceTexts } from './render.ts'
import type { Dict } from './value.ts'
import { containerIn, type Version } from './versions.ts'

export interface ContainerPiece {
  readonly record: ContainerRecord
  in(version: Version): Dict
}

interface KeptContainer {
  readonly key: string
  readonly piece: ContainerPiece
}

interface Kept {
  readonly inputs: readonly unknown[]
  readonly dict: Dict
}

const same = (one: readonly unknown[], other: readonly unknown[]): boolean =>
  one.length === other.length && one.every((input, at) => input === other[at])

export class Pieces {
  /** JSON texts of pieces. */
  readonly texts: PieceTexts = new WeakMap()
  readonly #containers = new WeakMap<ContainerRecord, KeptContainer>()
  readonly #digests = new WeakMap<Dict, string>()
  #kept = new Map<string, Kept>()
  #former = new Map<string, Kept>()

  /** Begins a new snapshot: what the last two did not ask for is forgotten. */
  turn(): void {
    this.#former = this.#kept
    this.#kept = new Map()
  }

  /** The dict of `key`, made again only if an input is another one than last time. */
  dict(key: string, inputs: readonly unknown[], make: () => Dict): Dict {
    const known = this.#kept.get(key) ?? this.#former.get(key)
    const kept = known !== undefined && same(known.inputs, inputs) ? known : { inputs, dict: make() }
    this.#kept.set(key, kept)
    return kept.dict
  }

  container(record: ContainerRecord, around: Surroundings, agentIp: string): ContainerPiece {
    const { service, links } = around
    const key = JSON.stringify([agentIp, around.networkUuid, service, around.networkFromUuid, links])
    const kept = this.#containers.get(record)
    if (kept?.key === key) return kept.piece
    const piece = containerPiece(record, around, agentIp)
    this.#containers.set(record, { key, piece })
    return piece
  }

  /** A digest of the content of a dict. */
  digest(dict: Dict): string {
    const known = this.#digests.get(dict)
    if (known !== undefined) return known
    const digest = digestOf(jsonOf(dict))
    this.#digests.set(dict, digest)
    return digest
  }
}

function containerPiece(record: ContainerRecord, around: Surroundings, agentIp: string): ContainerPiece {
  const base = containerOf(record, around)
  const made = new Map<Version, Dict>()
  const middle = containerIn('v2', base, portsOf(record, agentIp))
  const make = (version: Version): Dict =>
    version === 'v3' ? containerIn('v3', base, portsOf(record, '0.0.0.0')) : middle
  return {
    record,
    in(version) {
      const known = made.get(version)
      if (known !== undefined) return known
      const dict = make(version)
      made.set(version, dict)
      return dict
    },
  }
}
