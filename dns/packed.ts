/**
 * Changes of a zone as they cross to the DNS thread: names in one text, numbers in one array, because a hundred
 * thousand small objects take longer to cross than to make; and in pieces, so that taking in a big one never keeps a
 * question waiting. Pure.
 */
import type { Cidr, Ipv4 } from '../model/ip.ts'
import type { Name } from './codec/name.ts'
import type { MapChanges, ZoneChanges } from './zone/changes.ts'
import type { Asker, Target, View } from './zone/targets.ts'

/** Ipv4 addresses and the names that they are for. */
interface PackedPointers {
  readonly addresses: Uint32Array
  readonly names: string
}

/** A piece: about as much as is taken in within two milliseconds. */
export interface PackedZone {
  readonly revision: number
  readonly domain: Name
  readonly subnet: Cidr
  /** Targets that are nothing but IPv4 addresses: names by lines, and for each in `numbers` what `Numbers` wrote. */
  readonly plain: string
  readonly numbers: Uint32Array
  readonly others: ReadonlyMap<Name, Target>
  readonly gone: readonly Name[]
  readonly pointers: PackedPointers
  readonly lost: readonly Ipv4[]
  /** Of the last piece only. */
  readonly views: MapChanges<string, View>
  readonly askers: MapChanges<Ipv4, Asker>
  /** Of what came before nothing holds any more. */
  readonly anew: boolean
  readonly last: boolean
  /** So much is new that it is not worth knowing what. */
  readonly big: boolean
}

const pieceSize = 1000 // names
const noParts = 0xffff_ffff
const nothing = { set: new Map<never, never>(), gone: [] }

/**
 * In the order in which they are to be taken in; the names that others lead to come with the last at the latest. With
 * `anew` they are no changes but a whole zone, whatever there was.
 */
export function* packed(changes: ZoneChanges, anew = false): Generator<PackedZone> {
  const { revision, domain, subnet, names, pointers, views, askers } = changes
  const named = new Feed(names.set)
  const pointing = new Feed(pointers.set)
  let { gone } = names
  let lost = pointers.gone
  let big = anew || gone.length + lost.length > pieceSize
  let isFirst = anew
  for (let last = false; !last; ) {
    const piece = { ...packedNames(named), pointers: packedPointers(pointing) }
    last = named.isEmpty && pointing.isEmpty
    big ||= !last
    const seen = last ? { views, askers } : { views: nothing, askers: nothing }
    yield { revision, domain, subnet, big, ...piece, gone, lost, ...seen, anew: isFirst, last }
    isFirst = false
    gone = []
    lost = []
  }
}

/** What is given out in pieces, by an iterable that knows its end only when it is there. */
class Feed<T> {
  readonly #rest: Iterator<T>
  #next: IteratorResult<T>

  constructor(all: Iterable<T>) {
    this.#rest = all[Symbol.iterator]()
    this.#next = this.#rest.next()
  }

  get isEmpty(): boolean {
    return this.#next.done === true
  }

  eachOfPiece(take: (one: T) => void): void {
    for (let left = pieceSize; left > 0 && this.#next.done !== true; left--) {
      take(this.#next.value)
      this.#next = this.#rest.next()
    }
  }
}

function packedNames(named: Feed<readonly [Name, Target]>): Pick<PackedZone, 'plain' | 'numbers' | 'others'> {
  const plain: Name[] = []
  const numbers: number[] = []
  const others = new Map<Name, Target>()
  named.eachOfPiece(([name, target]) => {
    if (isPlain(target)) {
      plain.push(name)
      write(numbers, target)
    } else others.set(name, target)
  })
  return { plain: plain.join('\n'), numbers: new Uint32Array(numbers), others }
}

type Plain = Target & { readonly is: 'addresses' }

const isPlain = (target: Target): target is Plain =>
  target.is === 'addresses' && target.six.length === 0 && (target.parts?.ports.length ?? 0) === 0

function write(numbers: number[], { four, parts }: Plain): void {
  numbers.push(four.length)
  for (const address of four) numbers.push(address)
  numbers.push(parts === undefined ? noParts : parts.indexes.length)
  if (parts === undefined) return
  for (const index of parts.indexes) numbers.push(index)
  for (const address of parts.addresses) numbers.push(address)
}

function packedPointers(pointing: Feed<readonly [Ipv4, Name]>): PackedPointers {
  const addresses: number[] = []
  const names: Name[] = []
  pointing.eachOfPiece(([address, name]) => {
    addresses.push(address)
    names.push(name)
  })
  return { addresses: new Uint32Array(addresses), names: names.join('\n') }
}

/** The changes of one piece. */
export function unpacked(piece: PackedZone): ZoneChanges {
  const { revision, domain, subnet, others, gone, pointers, lost, views, askers } = piece
  const set = new Map<Name, Target>(others)
  const reader = new Reader(piece.numbers)
  for (const name of linesOf(piece.plain)) set.set(name, reader.target())
  const lines = linesOf(pointers.names)
  const pointing = new Map(lines.map((name, index) => [pointers.addresses[index] as Ipv4, name]))
  return {
    revision,
    domain,
    subnet,
    names: { set, gone },
    views,
    askers,
    pointers: { set: pointing, gone: lost },
  }
}

class Reader {
  readonly #numbers: Uint32Array
  #at = 0

  constructor(numbers: Uint32Array) {
    this.#numbers = numbers
  }

  target(): Target {
    const four = this.#list<Ipv4>(this.#next())
    const count = this.#next()
    if (count === noParts) return { is: 'addresses', four, six: none }
    const parts = { indexes: this.#list(count), addresses: this.#list<Ipv4>(count), ports: [] }
    return { is: 'addresses', four, six: none, parts }
  }

  #next(): number {
    const value = this.#numbers[this.#at] ?? 0
    this.#at += 1
    return value
  }

  #list<T extends number>(count: number): readonly T[] {
    const list: T[] = []
    for (let left = count; left > 0; left--) list.push(this.#next() as T)
    return list
  }
}

const none: readonly string[] = []

const linesOf = (text: string): readonly Name[] => (text === '' ? [] : text.split('\n'))
