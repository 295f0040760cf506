/**
 * What services mean as names: which of their containers are given, by number and by port. Pure.
 */
import type { Environment } from '../../model/environment.ts'
import type { Ipv4 } from '../../model/ip.ts'
import type { ContainerRecord } from '../../model/records.ts'
import { byIndex, isRunning } from '../../model/services.ts'
import { addressOf, isPresent, type Port, type Target } from './targets.ts'

const isHealthy = ({ health }: ContainerRecord): boolean => health === 'none' || health === 'healthy'

/** What a service gives of which no container is healthy and reachable: all that run, or no address. */
export type LastResort = 'running' | 'none'

/** What the containers of one service, or of one sidekick, give together: the running, healthy and reachable ones. */
export function serviceTarget(
  environment: Environment,
  members: readonly ContainerRecord[],
  lastResort: LastResort,
): Target {
  const addressesOf = (records: readonly ContainerRecord[]): readonly Ipv4[] =>
    records.map((record) => addressOf(environment, record) as Ipv4)
  const isHere = (record: ContainerRecord): boolean => isPresent(environment, record)
  const addressed = inOrder(only(members, (record) => addressOf(environment, record) !== null))
  const reachable = only(addressed, isHere)
  const good = only(reachable, (record) => isRunning(record) && isHealthy(record))
  const given = good.length > 0 || lastResort === 'none' ? good : only(addressed, isRunning)
  // By its number a container answers whatever its health, as it does by its name.
  const indexes = reachable.map(({ index }) => index)
  const addresses = addressesOf(reachable)
  // Containers that share a network share an address.
  const four = [...new Set(given === reachable ? addresses : addressesOf(given))]
  return {
    is: 'addresses',
    four,
    six: none,
    parts: { indexes, addresses, ports: portsOf(given === good ? good : only(given, isHere)) },
  }
}

const none: readonly string[] = []

/** The same list where nothing is left out, as mostly. */
const only = <T>(list: readonly T[], test: (one: T) => boolean): readonly T[] =>
  list.every(test) ? list : list.filter(test)

/** The same list where the order is right, as mostly. */
const inOrder = (records: readonly ContainerRecord[]): readonly ContainerRecord[] =>
  records.every((record, at) => at === 0 || byIndex(records[at - 1] ?? record, record) <= 0)
    ? records
    : records.toSorted(byIndex)

const noPorts: readonly Port[] = []

function portsOf(given: readonly ContainerRecord[]): readonly Port[] {
  if (given.every(({ exposed }) => exposed.length === 0)) return noPorts
  const ports = new Map<string, number[]>()
  for (const { exposed, index } of given)
    for (const port of exposed) {
      const indexes = ports.get(port) ?? []
      indexes.push(index)
      ports.set(port, indexes)
    }
  return [...ports].flatMap(([exposed, indexes]): Port[] => {
    const match = /^(\d{1,5})\/(tcp|udp)$/.exec(exposed)
    return match === null ? [] : [[Number(match[1]), match[2] ?? '', indexes]]
  })
}
