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

const pieceSize = 1000 // names and pointers
const noParts = 0xffff_ffff
const nothing = { set: new Map<never, never>(), gone: [] }

/**
 * Gives the pieces out in the order in which they are to be taken in; the names that others lead to come with the last
 * at the latest. With `anew` they are no changes but a whole zone, whatever there was.
 */
export function pack(changes: ZoneChanges, give: (piece: PackedZone) => void, anew = false): void {
  const packer = new Packer(changes, give, anew)
  changes.names.set.forEach((target, name) => {
    packer.addName(name, target)
  })
  changes.pointers.set.forEach((name, address) => {
    packer.addPointer(address, name)
  })
  packer.end()
}

class Packer {
  readonly #changes: ZoneChanges
  readonly #give: (piece: PackedZone) => void
  readonly #numbers = new Numbers()
  #left = pieceSize
  #plain: Name[] = []
  #others = new Map<Name, Target>()
  #addresses: Ipv4[] = []
  #pointers: Name[] = []
  #gone: readonly Name[]
  #lost: readonly Ipv4[]
  #anew: boolean
  #big: boolean

  constructor(changes: ZoneChanges, give: (piece: PackedZone) => void, anew: boolean) {
    this.#changes = changes
    this.#give = give
    this.#gone = changes.names.gone
    this.#lost = changes.pointers.gone
    this.#anew = anew
    this.#big = anew || this.#gone.length + this.#lost.length > pieceSize
  }

  addName(name: Name, target: Target): void {
    this.#makeRoom()
    if (isPlain(target)) {
      this.#plain.push(name)
      this.#numbers.addTarget(target)
    } else this.#others.set(name, target)
  }

  addPointer(address: Ipv4, name: Name): void {
    this.#makeRoom()
    this.#addresses.push(address)
    this.#pointers.push(name)
  }

  end(): void {
    this.#finish(true)
  }

  #makeRoom(): void {
    if (this.#left === 0) this.#finish(false)
    this.#left--
  }

  #finish(last: boolean): void {
    const { revision, domain, subnet, views, askers } = this.#changes
    this.#big ||= !last
    this.#give({
      revision,
      domain,
      subnet,
      plain: this.#plain.join('\n'),
      numbers: this.#numbers.take(),
      others: this.#others,
      gone: this.#gone,
      pointers: { addresses: new Uint32Array(this.#addresses), names: this.#pointers.join('\n') },
      lost: this.#lost,
      views: last ? views : nothing,
      askers: last ? askers : nothing,
      anew: this.#anew,
      last,
      big: this.#big,
    })
    this.#left = pieceSize
    this.#plain = []
    this.#others = new Map()
    this.#addresses = []
    this.#pointers = []
    this.#gone = []
    this.#lost = []
    this.#anew = false
  }
}

type Plain = Target & { readonly is: 'addresses' }

const isPlain = (target: Target): target is Plain =>
  target.is === 'addresses' && target.six.length === 0 && (target.parts?.ports.length ?? 0) === 0

/** One buffer for all pieces; it grows. */
class Numbers {
  #values = new Uint32Array(64)
  #length = 0

  addTarget({ four, parts }: Plain): void {
    this.#add(four.length)
    this.#addAll(four)
    this.#add(parts === undefined ? noParts : parts.indexes.length)
    if (parts === undefined) return
    this.#addAll(parts.indexes)
    this.#addAll(parts.addresses)
  }

  /** What was added since. */
  take(): Uint32Array {
    const taken = this.#values.slice(0, this.#length)
    this.#length = 0
    return taken
  }

  #addAll(values: readonly number[]): void {
    for (let at = 0; at < values.length; at++) this.#add(values[at] ?? 0)
  }

  #add(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = new Uint32Array(2 * this.#length)
      larger.set(this.#values)
      this.#values = larger
    }
    this.#values[this.#length++] = value
  }
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
