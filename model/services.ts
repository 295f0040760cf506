/**
 * Services out of containers: a service is the set of containers that share stack, service and sidekick name,
 * joined with what people declared about it. Orders are stable: stack, service, index, id.
 */
import type { Environment } from './environment.ts'
import type { ContainerRecord, DeclaredService } from './records.ts'

export interface Service {
  readonly stack: string
  /** The launch config's name: the sidekick's for a sidekick. */
  readonly name: string
  /** The unit's primary service; equal to `name` for a primary. */
  readonly primary: string
  readonly containers: readonly ContainerRecord[]
  readonly declared: DeclaredService | undefined
}

export interface Stack {
  readonly name: string
  readonly services: readonly Service[]
}

const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)

/** Stable order of containers of one service. */
export const byIndex = (one: ContainerRecord, other: ContainerRecord): number =>
  one.index - other.index || compare(one.id, other.id)

/** Whether a container runs, as far as its host knows. */
export const isRunning = (container: ContainerRecord): boolean =>
  container.state === 'running' || container.state === 'paused'

/** Containers whose host counts, or all of this host; the older of two with one name first. */
export function presentContainers(environment: Environment): readonly ContainerRecord[] {
  return [...environment.containers.values()].filter(
    (container) =>
      container.host === environment.self || environment.hosts.get(container.host)?.present === true,
  )
}

/** All stacks with their services, containers with a stack and a service only. */
export function stacksOf(environment: Environment): readonly Stack[] {
  const stacks = new Map<string, Group[]>()
  const units = new Map<string, Map<string, Map<string, Group>>>()
  const group = (stack: string, primary: string, name: string): Group => {
    const inStack = nested(units, stack)
    const unit = nested(inStack, primary)
    const known = unit.get(name)
    if (known !== undefined) return known
    const declared = name === primary ? environment.services.get(`${stack}/${name}`) : undefined
    const made = { stack, name, primary, containers: [], declared }
    unit.set(name, made)
    const groups = stacks.get(stack)
    if (groups === undefined) stacks.set(stack, [made])
    else groups.push(made)
    return made
  }
  for (const declared of environment.services.values()) group(declared.stack, declared.name, declared.name)
  for (const container of presentContainers(environment)) {
    const { stack, service, sidekick } = container
    if (stack !== null && service !== null)
      group(stack, service, sidekick ?? service).containers.push(container)
  }
  return [...stacks]
    .map(([name, groups]) => ({ name, services: groups.map(sorted).sort(byUnit) }))
    .sort((one, other) => compare(one.name, other.name))
}

interface Group extends Service {
  readonly containers: ContainerRecord[]
}

const sorted = (group: Group): Service => {
  group.containers.sort(byIndex)
  return group
}

const byUnit = (one: Service, other: Service): number =>
  compare(one.primary, other.primary) || compare(one.name, other.name)

function nested<V>(map: Map<string, Map<string, V>>, key: string): Map<string, V> {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = new Map<string, V>()
  map.set(key, made)
  return made
}
