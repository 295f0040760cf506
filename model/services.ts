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
  const groups = new Map<
    string,
    { stack: string; name: string; primary: string; containers: ContainerRecord[] }
  >()
  const group = (stack: string, primary: string, name: string) => {
    const key = JSON.stringify([stack, primary, name])
    const found = groups.get(key) ?? { stack, name, primary, containers: [] }
    groups.set(key, found)
    return found
  }
  for (const declared of environment.services.values()) group(declared.stack, declared.name, declared.name)
  for (const container of presentContainers(environment)) {
    const { stack, service, sidekick } = container
    if (stack !== null && service !== null)
      group(stack, service, sidekick ?? service).containers.push(container)
  }
  const stacks = new Map<string, Service[]>()
  for (const { stack, name, primary, containers } of groups.values()) {
    const declared = name === primary ? environment.services.get(`${stack}/${name}`) : undefined
    const services = stacks.get(stack) ?? []
    services.push({ stack, name, primary, containers: containers.sort(byIndex), declared })
    stacks.set(stack, services)
  }
  return [...stacks]
    .map(([name, services]) => ({
      name,
      services: services.sort(
        (one, other) => compare(one.primary, other.primary) || compare(one.name, other.name),
      ),
    }))
    .sort((one, other) => compare(one.name, other.name))
}
