/**
 * The parts of a tree, made once and kept for as long as what they are made of stays the same: equal parts of two
 * snapshots give identical objects (`===`), so that finished texts of them can be kept as well. Forgetting is
 * automatic; keeping never changes an answer.
 */
import type { ContainerRecord } from '../model/records.ts'
import { Chunks } from './chunks.ts'
import { containerOf, portsOf, type Surroundings } from './container.ts'
import { digestOf } from './digest.ts'
import { jsonOf } from './render.ts'
import type { Dict } from './value.ts'
import { containerIn, ofContainers, type Version } from './versions.ts'

export interface ContainerPiece {
  readonly record: ContainerRecord
  /** Of all that any version shows. */
  readonly digest: string
  in(version: Version): Dict
}

interface KeptContainer {
  readonly around: Surroundings
  readonly piece: ContainerPiece
}

interface Kept {
  readonly inputs: readonly unknown[]
  readonly part: object
}

const same = (one: readonly unknown[], other: readonly unknown[]): boolean =>
  one.length === other.length && one.every((input, at) => input === other[at])

export class Pieces {
  readonly chunks = new Chunks()
  readonly #containers = new WeakMap<ContainerRecord, KeptContainer>()
  readonly #digests = new WeakMap<object, string>()
  #kept = new Map<string, Kept>()
  #former = new Map<string, Kept>()

  /** Begins a new snapshot: what the last two did not ask for is forgotten. */
  turn(): void {
    this.#former = this.#kept
    this.#kept = new Map()
  }

  /**
   * The part of `key`, made again only if an input is another one than last time. A key belongs to one kind of part:
   * it begins with that kind's word.
   */
  part<T extends object>(key: string, inputs: readonly unknown[], make: () => T): T {
    const known = this.#kept.get(key) ?? this.#former.get(key)
    const kept = known !== undefined && same(known.inputs, inputs) ? known : { inputs, part: make() }
    this.#kept.set(key, kept)
    return kept.part as T
  }

  container(record: ContainerRecord, around: Surroundings): ContainerPiece {
    const kept = this.#containers.get(record)
    if (kept !== undefined && sameSurroundings(kept.around, around)) return kept.piece
    const piece = containerPiece(record, around)
    this.#containers.set(record, { around, piece })
    return piece
  }

  /** A digest of the content of a dict. */
  digest(dict: Dict): string {
    return this.digestOnce(dict, () => jsonOf(dict))
  }

  /** A digest of the content that belongs to `part`, read when it is asked for first. */
  digestOnce(part: object, content: () => string): string {
    const known = this.#digests.get(part)
    if (known !== undefined) return known
    const digest = digestOf(content())
    this.#digests.set(part, digest)
    return digest
  }
}

function sameSurroundings(one: Surroundings, other: Surroundings): boolean {
  return (
    one.agentIp === other.agentIp &&
    one.environmentUuid === other.environmentUuid &&
    one.networkUuid === other.networkUuid &&
    one.networkFromUuid === other.networkFromUuid &&
    one.service?.uuid === other.service?.uuid &&
    one.service?.stackUuid === other.service?.stackUuid &&
    one.service?.name === other.service?.name &&
    sameLinks(one.links, other.links)
  )
}

function sameLinks(one: Surroundings['links'], other: Surroundings['links']): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other)
}

function containerPiece(record: ContainerRecord, around: Surroundings): ContainerPiece {
  const made = new Map<Version, Dict>()
  const make = (version: Version): Dict => {
    const any = version === 'v3' ? '0.0.0.0' : around.agentIp
    return containerIn(version, containerOf(record, around), portsOf(record, any))
  }
  return {
    record,
    digest: digestOf(jsonOf(make('v2'))),
    in(asked) {
      const version = ofContainers(asked)
      const known = made.get(version)
      if (known !== undefined) return known
      const dict = make(version)
      made.set(version, dict)
      return dict
    },
  }
}
