/**
 * Names below a service that are not kept one by one, because the service says it all: `<index>.<service>…` for one
 * container, `_<port>._<protocol>.<service>…` for where a port is served (RFC 2782). Pure.
 */
import { labelsOf, type Name, parentOf } from '../codec/name.ts'
import { type Lookup, type Target, targetOf } from './targets.ts'

const partsAt = (names: Lookup<Name, Target>, name: Name) => {
  const target = names.get(name)
  return target?.is === 'addresses' ? target.parts : undefined
}

/** What a name below a service stands for; undefined when there is no such part. */
export function partTarget(names: Lookup<Name, Target>, name: Name): Target | undefined {
  const [first = '', second = ''] = labelsOf(name)
  const parent = parentOf(name)
  if (/^\d+$/.test(first)) return containerTarget(names, parent, Number(first))
  if (!first.startsWith('_')) return undefined
  const port = /^_([1-9]\d{0,4})$/.exec(first)?.[1]
  if (port !== undefined && second.startsWith('_'))
    return serversTarget(names, parentOf(parent), Number(port), second.slice(1))
  const ports = partsAt(names, parent)?.ports ?? []
  return ports.some(([, protocol]) => `_${protocol}` === first) ? { is: 'branch' } : undefined
}

function containerTarget(names: Lookup<Name, Target>, service: Name, index: number): Target | undefined {
  const { indexes = [], addresses = [] } = partsAt(names, service) ?? {}
  const found = addresses.filter((_, at) => indexes[at] === index)
  return found.length === 0 ? undefined : targetOf([...new Set(found)])
}

function serversTarget(
  names: Lookup<Name, Target>,
  service: Name,
  port: number,
  protocol: string,
): Target | undefined {
  const found = partsAt(names, service)?.ports.find((one) => one[0] === port && one[1] === protocol)
  if (found === undefined) return undefined
  return { is: 'servers', port, servers: [...new Set(found[2])].map((index) => `${index}.${service}`) }
}

/** All names that a target has below its own. */
export function partNames(name: Name, target: Target | undefined): readonly Name[] {
  if (target?.is !== 'addresses' || target.parts === undefined) return []
  const { indexes, ports } = target.parts
  return [
    ...indexes.map((index) => `${index}.${name}`),
    ...ports.flatMap(([port, protocol]) => [`_${port}._${protocol}.${name}`, `_${protocol}.${name}`]),
  ]
}
