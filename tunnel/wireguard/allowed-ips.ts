/**
 * Cryptokey routing (paper 2): a path-compressed trie per address family from prefix to owner. Lookups read the
 * address where it lies and allocate nothing; the longest prefix wins; a prefix has one owner, the last. Answers
 * for IPv4 are remembered in a small table until a prefix changes.
 */
import type { AllowedIp } from './change.ts'
import { readU32 } from './messages.ts'

/** A power of two. */
const REMEMBERED = 256

interface Node<Owner> {
  readonly address: Uint8Array
  readonly bits: number
  /** Undefined for a node that only branches. */
  owner: Owner | undefined
  zero: Node<Owner> | undefined
  one: Node<Owner> | undefined
}

export class AllowedIps<Owner> {
  #v4: Node<Owner> | undefined
  #v6: Node<Owner> | undefined
  readonly #addresses = new Uint32Array(REMEMBERED)
  readonly #owners: (Owner | undefined)[] = new Array(REMEMBERED).fill(undefined)

  set(prefix: AllowedIp, owner: Owner): void {
    this.#owners.fill(undefined)
    const leaf = { ...masked(prefix), owner, zero: undefined, one: undefined }
    if (prefix.address.length === 4) this.#v4 = withLeaf(this.#v4, leaf)
    else this.#v6 = withLeaf(this.#v6, leaf)
  }

  /** Takes one prefix away, if `owner` has it. */
  remove(prefix: AllowedIp, owner: Owner): void {
    this.#owners.fill(undefined)
    const target = masked(prefix)
    if (prefix.address.length === 4) this.#v4 = without(this.#v4, target, owner)
    else this.#v6 = without(this.#v6, target, owner)
  }

  removeOwner(owner: Owner): void {
    this.#owners.fill(undefined)
    this.#v4 = withoutOwner(this.#v4, owner)
    this.#v6 = withoutOwner(this.#v6, owner)
  }

  lookupV4(memory: Uint8Array, at: number): Owner | undefined {
    const address = readU32(memory, at)
    // The octets that differ inside of one environment are the last ones, which are highest here.
    const slot = ((address >>> 24) ^ (address >>> 16)) & (REMEMBERED - 1)
    const known = this.#owners[slot]
    if (known !== undefined && this.#addresses[slot] === address) return known
    const owner = lookup(this.#v4, memory, at)
    this.#addresses[slot] = address
    this.#owners[slot] = owner
    return owner
  }

  lookupV6(memory: Uint8Array, at: number): Owner | undefined {
    return lookup(this.#v6, memory, at)
  }

  /** All prefixes with their owners, IPv4 first. */
  *entries(): Generator<readonly [AllowedIp, Owner]> {
    yield* entriesOf(this.#v4)
    yield* entriesOf(this.#v6)
  }
}

function lookup<Owner>(root: Node<Owner> | undefined, memory: Uint8Array, at: number): Owner | undefined {
  let best: Owner | undefined
  let node = root
  while (node !== undefined && covers(node, memory, at)) {
    if (node.owner !== undefined) best = node.owner
    node = bitAt(memory, at, node.bits) === 0 ? node.zero : node.one
  }
  return best
}

function covers(node: Node<unknown>, memory: Uint8Array, at: number): boolean {
  const whole = node.bits >> 3
  for (let byte = 0; byte < whole; byte++) if (node.address[byte] !== memory[at + byte]) return false
  const rest = node.bits & 7
  return rest === 0 || (((node.address[whole] ?? 0) ^ (memory[at + whole] ?? 0)) & (0xff00 >> rest)) === 0
}

const bitAt = (memory: Uint8Array, at: number, bit: number): number =>
  (memory[at + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))

function masked(prefix: AllowedIp): AllowedIp {
  const address = prefix.address.map(
    (byte, at) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix.bits - at * 8))),
  )
  return { address, bits: prefix.bits }
}

/** How many leading bits two prefixes share. */
function common(one: AllowedIp, other: AllowedIp): number {
  const limit = Math.min(one.bits, other.bits)
  for (let at = 0; at * 8 < limit; at++) {
    const difference = (one.address[at] ?? 0) ^ (other.address[at] ?? 0)
    if (difference !== 0) return Math.min(limit, at * 8 + Math.clz32(difference) - 24)
  }
  return limit
}

function adopt<Owner>(parent: Node<Owner>, child: Node<Owner>): Node<Owner> {
  if (bitAt(child.address, 0, parent.bits) === 0) parent.zero = child
  else parent.one = child
  return parent
}

function withLeaf<Owner>(node: Node<Owner> | undefined, leaf: Node<Owner>): Node<Owner> {
  if (node === undefined) return leaf
  const shared = common(node, leaf)
  if (shared === node.bits && shared === leaf.bits) {
    node.owner = leaf.owner
    return node
  }
  if (shared === node.bits)
    return adopt(node, withLeaf(bitAt(leaf.address, 0, shared) === 0 ? node.zero : node.one, leaf))
  if (shared === leaf.bits) return adopt(leaf, node)
  const branch = { ...masked({ address: leaf.address, bits: shared }), owner: undefined }
  return adopt(adopt({ ...branch, zero: undefined, one: undefined }, node), leaf)
}

/** A node that neither owns nor branches gives way to its only child. */
function collapsed<Owner>(node: Node<Owner>): Node<Owner> | undefined {
  if (node.owner !== undefined || (node.zero !== undefined && node.one !== undefined)) return node
  return node.zero ?? node.one
}

function without<Owner>(
  node: Node<Owner> | undefined,
  target: AllowedIp,
  owner: Owner,
): Node<Owner> | undefined {
  if (node === undefined || node.bits > target.bits || common(node, target) < node.bits) return node
  if (node.bits === target.bits) {
    if (node.owner === owner) node.owner = undefined
  } else if (bitAt(target.address, 0, node.bits) === 0) node.zero = without(node.zero, target, owner)
  else node.one = without(node.one, target, owner)
  return collapsed(node)
}

function withoutOwner<Owner>(node: Node<Owner> | undefined, owner: Owner): Node<Owner> | undefined {
  if (node === undefined) return undefined
  if (node.owner === owner) node.owner = undefined
  node.zero = withoutOwner(node.zero, owner)
  node.one = withoutOwner(node.one, owner)
  return collapsed(node)
}

function* entriesOf<Owner>(node: Node<Owner> | undefined): Generator<readonly [AllowedIp, Owner]> {
  if (node === undefined) return
  if (node.owner !== undefined) yield [{ address: node.address, bits: node.bits }, node.owner]
  yield* entriesOf(node.zero)
  yield* entriesOf(node.one)
}
