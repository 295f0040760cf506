/**
 * What services mean as names: which of their containers are given, by number and by port. Pure.
 */
import type { Environment } from '../model/environment.ts'
import type { Ipv4 } from '../model/ip.ts'
import type { ContainerRecord } from '../model/records.ts'
import { byIndex, isRunning } from '../model/services.ts'
import { isPresent, type Parts, type Port, type Target } from './targets.ts'

/** A container with the address that it answers on. */
export interface Member {
  readonly record: ContainerRecord
  readonly address: Ipv4 | null
}

type Reachable = Member & { readonly address: Ipv4 }

const isHealthy = ({ health }: ContainerRecord): boolean => health === 'none' || health === 'healthy'

/**
 * What the containers of one service, or of one sidekick, give together: the running, healthy and reachable ones;
 * when there are none, all that run.
 */
export function serviceTarget(environment: Environment, members: readonly Member[]): Target {
  const isHere = ({ record }: Member): boolean => isPresent(environment, record)
  const addressed = members.filter(hasAddress).sort((one, other) => byIndex(one.record, other.record))
  const reachable = addressed.filter(isHere)
  const good = reachable.filter(({ record }) => isRunning(record) && isHealthy(record))
  const given = good.length > 0 ? good : addressed.filter(({ record }) => isRunning(record))
  const ports = portsOf(given.filter(isHere))
  return { is: 'addresses', four: each(given), six: none, parts: { ...numbered(reachable), ports } }
}

const none: readonly string[] = []

const hasAddress = (member: Member): member is Reachable => member.address !== null

/** By its number a container answers whatever its health, as it does by its name. */
const numbered = (reachable: readonly Reachable[]): Omit<Parts, 'ports'> => ({
  indexes: reachable.map(({ record }) => record.index),
  addresses: reachable.map(({ address }) => address),
})

/** Containers that share a network share an address. */
const each = (given: readonly Reachable[]): readonly Ipv4[] => [
  ...new Set(given.map(({ address }) => address)),
]

function portsOf(given: readonly Reachable[]): readonly Port[] {
  const ports = new Map<string, number[]>()
  for (const { record } of given)
    for (const exposed of record.exposed) {
      const indexes = ports.get(exposed) ?? []
      indexes.push(record.index)
      ports.set(exposed, indexes)
    }
  return [...ports].flatMap(([exposed, indexes]): Port[] => {
    const match = /^(\d{1,5})\/(tcp|udp)$/.exec(exposed)
    return match === null ? [] : [[Number(match[1]), match[2] ?? '', indexes]]
  })
}
