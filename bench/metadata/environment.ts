/**
 * What the metadata benchmark shows: an environment of so many containers on 50 hosts with labels as Compose gives
 * them. A change is one container that becomes another one; all else stays the same object. Pure.
 */
import type { Environment } from '../../model/environment.ts'
import type { Ipv4 } from '../../model/ip.ts'
import type { ContainerRecord } from '../../model/records.ts'
import {
  containerRecordOf,
  environmentOf,
  hostIdOf,
  hostOf,
  hostRecordOf,
  settingsOf,
} from '../../test/support/snapshots.ts'

const hosts = 50
const perService = 10
const stacks = 40
const first = 0x0a2a0100 // 10.42.1.0

function recordOf(at: number): ContainerRecord {
  const number = Math.floor(at / perService)
  const [stack, service] = [`stack${number % stacks}`, `service${number}`]
  const index = (at % perService) + 1
  return containerRecordOf(at + 1, {
    stack,
    service,
    index,
    name: `${stack}-${service}-${index}`,
    hostname: `${stack}-${service}-${index}`,
    host: hostIdOf((at % hosts) + 1),
    address: (first + at) as Ipv4,
    labels: {
      'com.docker.compose.project': stack,
      'com.docker.compose.service': service,
      'com.docker.compose.container-number': String(index),
      'io.rancher.container.network': 'true',
      'org.opencontainers.image.version': '1.2.3',
    },
    ports: [`0.0.0.0:${20_000 + (at % 10_000)}:8080/tcp`],
    dns: ['169.254.169.250'],
    dnsSearch: [`${service}.${stack}.rancher.internal`, `${stack}.rancher.internal`, 'rancher.internal'],
  })
}

/** Names of the first services. */
export const serviceNames: readonly string[] = Array.from(
  { length: 100 },
  (_, number) => `service${number}.stack${number % stacks}.rancher.internal`,
)

export class ChangingEnvironment {
  readonly #records: ContainerRecord[]
  readonly #hosts = Array.from({ length: hosts }, (_, at) => hostOf(hostRecordOf(at + 1)))
  readonly #settings = settingsOf()
  #revision = 1

  /** `asker` is the address of the first container, which asks about itself. */
  constructor(containers: number, asker: Ipv4 | undefined) {
    this.#records = Array.from({ length: containers }, (_, at) => recordOf(at))
    const [one] = this.#records
    if (one !== undefined && asker !== undefined) this.#records[0] = { ...one, address: asker }
  }

  get now(): Environment {
    return environmentOf({
      revision: this.#revision,
      settings: this.#settings,
      hosts: this.#hosts,
      containers: this.#records,
    })
  }

  /** Another container each time starts once more. */
  change(): Environment {
    this.#revision += 1
    const at = (this.#revision * 997) % this.#records.length
    const record = this.#records[at]
    if (record !== undefined) this.#records[at] = { ...record, startCount: record.startCount + 1 }
    return this.now
  }
}
