/**
 * What the DNS benchmark asks about: an environment of many services, and names of the world. Each contestant gets
 * the same in its own configuration. Pure.
 */
import type { Environment } from '../../model/environment.ts'
import { formatIpv4, type Ipv4 } from '../../model/ip.ts'
import { isRunning } from '../../model/services.ts'
import {
  containerRecordOf,
  environmentOf,
  hostIdOf,
  hostOf,
  hostRecordOf,
} from '../../test/support/snapshots.ts'

export interface Size {
  readonly services: number
  /** Containers of each service. */
  readonly containers: number
}

export const domain = 'rancher.internal'
const stacks = 40
const hosts = 50
const externals = 1000
const first = 0x0a2a0100 // 10.42.1.0

export const externalNames: readonly string[] = Array.from(
  { length: externals },
  (_, at) => `host${at}.example.com`,
)

/** `revision` moves one container to another address, so that something small changes. */
export function environmentOfSize({ services, containers }: Size, revision = 1): Environment {
  const records = Array.from({ length: services * containers }, (_, at) => {
    const service = Math.floor(at / containers)
    const moved = at === 0 ? revision % 200 : 0
    return containerRecordOf(at + 1, {
      stack: `stack${service % stacks}`,
      service: `service${service}`,
      name: `stack${service % stacks}-service${service}-${(at % containers) + 1}`,
      index: (at % containers) + 1,
      host: hostIdOf((at % hosts) + 1),
      address: (first + (at % 0xfd00) + moved) as Ipv4,
    })
  })
  const all = Array.from({ length: hosts }, (_, at) => hostOf(hostRecordOf(at + 1)))
  return environmentOf({ revision, hosts: all, containers: records })
}

/** The names of services with their addresses, as any name server can hold them. */
export function servicesIn(environment: Environment): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>()
  for (const container of environment.containers.values()) {
    const { stack, service, address } = container
    if (address === null || !isRunning(container)) continue
    const name = `${service}.${stack}.${domain}`
    const addresses = found.get(name) ?? []
    addresses.push(formatIpv4(address))
    found.set(name, addresses)
  }
  return found
}

/** Questions in dnsperf's form, in an order that no cache line likes. */
export function questionsFor(names: readonly string[], count: number): string {
  const lines: string[] = []
  let seed = 1
  for (let left = count; left > 0; left--) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff
    lines.push(`${names[(seed >>> 8) % names.length]} A`)
  }
  return `${lines.join('\n')}\n`
}
