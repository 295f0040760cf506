/**
 * What this machine already uses of the private address space: interfaces, routes, Docker networks, and other
 * environments of Drover.
 */
import type { NftTable } from '../../linux/nft.ts'
import { DroverError } from '../../model/errors.ts'
import type { Cidr } from '../../model/ip.ts'
import { tablePrefix } from '../../network/names.ts'
import {
  neighboursOf,
  type Occupied,
  type Overlap,
  occupiedOf,
  overlapOf,
  overlapText,
} from '../../network/overlap.ts'
import type { System } from '../system.ts'

type Lookers = Pick<System, 'engine' | 'ip' | 'names' | 'nft'>

/** What the subnet collides with; undefined where it is free. */
export async function overlapOn(subnet: Cidr, system: Lookers): Promise<Overlap | undefined> {
  const { ip, engine } = system
  const [links, routes, networks, neighbours] = await Promise.all([
    ip.links(),
    ip.routes(),
    engine.networks().catch(() => []),
    neighboursOn(system),
  ])
  const frames = networks.map((frame) => ({ ...frame, endpoints: [] }))
  return overlapOf(subnet, [...neighbours, ...occupiedOf(links, routes, frames)])
}

/** Throws SUBNET_TAKEN where anything uses part of the subnet. */
export async function refuseOverlap(subnet: Cidr, system: Lookers): Promise<void> {
  const overlap = await overlapOn(subnet, system)
  if (overlap !== undefined) throw new DroverError('SUBNET_TAKEN', overlapText(subnet, overlap))
}

/** Throws SUBNET_TAKEN where another environment does: what else the machine has may have come later than us. */
export async function refuseNeighbours(subnet: Cidr, system: Lookers): Promise<void> {
  const overlap = overlapOf(subnet, await neighboursOn(system))
  if (overlap !== undefined)
    throw new DroverError('SUBNET_TAKEN', overlapText(subnet, { ...overlap, free: undefined }))
}

async function neighboursOn({ names, nft }: Lookers): Promise<readonly Occupied[]> {
  const tables = (await nft.tables('inet')).filter((name) => name.startsWith(tablePrefix))
  const read = await Promise.all(
    tables.map(
      async (name): Promise<[string, NftTable | undefined]> => [name, await nft.table('inet', name)],
    ),
  )
  const found = new Map(read.flatMap(([name, table]) => (table === undefined ? [] : [[name, table]])))
  return neighboursOf(found, names.table)
}
