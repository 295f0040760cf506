/**
 * Containers as people name them: by name, by id or the beginning of it. Pure.
 */
import type { Environment } from '../../model/environment.ts'
import { printable } from '../../model/names.ts'
import type { ContainerRecord } from '../../model/records.ts'

/** Fewer characters are no id. */
const leastId = 6

const isIt = ({ name, id }: ContainerRecord, which: string): boolean =>
  name === which || (which.length >= leastId && id.startsWith(which))

/** A container of this host. */
export const containerHere = (environment: Environment, which: string): ContainerRecord | undefined =>
  [...environment.containers.values()].find((one) => one.host === environment.self && isIt(one, which))

/** Why there is no such container here, in words. */
export function notHere(environment: Environment, which: string): string {
  const other = [...environment.containers.values()].find((one) => isIt(one, which))
  if (other === undefined) return `no container of this host and no address: ${printable(which)}`
  const host = environment.hosts.get(other.host)?.record.name ?? other.host
  return `${printable(which)} is a container of ${host}: ask there`
}
