/**
 * What a scheduler would have numbered: a container's index within its service. Compose's or Swarm's number
 * where there is one, else the lowest free one in the snapshot, kept from then on; of two equal ones the later
 * container moves.
 */
import type { Wish } from '../../model/engine.ts'
import type { Environment } from '../../model/environment.ts'
import type { ContainerId, ContainerRecord } from '../../model/records.ts'
import type { Instant } from '../../model/time.ts'

interface Numbered {
  readonly id: ContainerId
  readonly createdAt: Instant
}

export function indexOf(container: Numbered, wish: Wish, environment: Environment | undefined): number {
  if (wish.stack === null || wish.service === null) return 1
  if (wish.index !== null) return wish.index
  const others = [...(environment?.containers.values() ?? [])].filter(
    (one) => one.id !== container.id && isOfService(one, wish),
  )
  const mine = environment?.containers.get(container.id)
  if (
    mine !== undefined &&
    mine.index > 0 &&
    !others.some((one) => one.index === mine.index && isOlder(one, container))
  ) {
    return mine.index
  }
  const taken = new Set(others.map(({ index }) => index))
  let free = 1
  while (taken.has(free)) free++
  return free
}

const isOfService = (one: ContainerRecord, wish: Wish): boolean =>
  one.stack === wish.stack && one.service === wish.service && one.sidekick === wish.sidekick

const isOlder = (one: Numbered, other: Numbered): boolean =>
  one.createdAt < other.createdAt || (one.createdAt === other.createdAt && one.id < other.id)
