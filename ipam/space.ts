/**
 * The subnet of an environment as a row of equal blocks. Pure arithmetic, never throws: what lies outside
 * has no block, and a subnet smaller than a block is one block.
 */
import { type Cidr, cidrOf, type Ipv4, ipv4At, networkOf } from '../model/ip.ts'
import type { HostId, Settings } from '../model/records.ts'

export interface Space {
  readonly subnet: Cidr
  readonly first: Ipv4
  readonly last: Ipv4
  /** Prefix length of a block. */
  readonly bits: number
  readonly blockSize: number
  readonly blockCount: number
}

export function spaceOf({ subnet, blockBits }: Pick<Settings, 'subnet' | 'blockBits'>): Space {
  const { first, last, bits: subnetBits, size } = networkOf(subnet)
  const bits = Math.max(blockBits, subnetBits)
  const blockSize = 2 ** (32 - bits)
  return { subnet, first, last, bits, blockSize, blockCount: size / blockSize }
}

export const isInside = (space: Space, address: Ipv4): boolean =>
  address >= space.first && address <= space.last

/** Whether an address may be given to anybody: the subnet's first and last never are. */
export const isUsable = (space: Space, address: Ipv4): boolean =>
  address > space.first && address < space.last

/** The block around an address of the subnet. */
export const blockAround = (space: Space, address: Ipv4): Cidr => cidrOf(address, space.bits)

/** Whether a network is one of the blocks of this space. */
export function isBlock(space: Space, cidr: Cidr): boolean {
  const { first, bits } = networkOf(cidr)
  return bits === space.bits && isInside(space, first)
}

/** The first address of a block that may be given; undefined where there is none. */
export function firstUsable(space: Space, block: Cidr): Ipv4 | undefined {
  const { first, last } = networkOf(block)
  const address = first === space.first ? ipv4At(first, 1) : first
  return address <= last && isUsable(space, address) ? address : undefined
}

/**
 * The blocks in the order in which a host tries to claim them: the lowest that is free, and when another host
 * is quicker, onwards from a place of its own, so that many hosts that start at once do not queue.
 */
export function* candidates(space: Space, host: HostId, isTaken: (block: Cidr) => boolean): Iterable<Cidr> {
  const at = (index: number): Cidr => cidrOf(ipv4At(space.first, index * space.blockSize), space.bits)
  let lowest: Cidr | undefined
  for (let index = 0; index < space.blockCount && lowest === undefined; index++) {
    if (!isTaken(at(index))) lowest = at(index)
  }
  if (lowest === undefined) return
  yield lowest
  const start = Number.parseInt(host.slice(0, 8), 16) || 0
  for (let step = 0; step < space.blockCount; step++) {
    const block = at((start + step) % space.blockCount)
    if (block !== lowest && !isTaken(block)) yield block
  }
}
