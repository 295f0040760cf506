/**
 * The labels of a container as a wish: who it is and what it asks for. Pure; never throws. Of several labels
 * with one meaning the first that is present wins; one that cannot be used becomes one clear line, and the
 * container is managed all the same. docs/labels.md is tested against the table here.
 */
import type { EngineContainer, Wish } from '../model/engine.ts'
import { dnsLabel, printable } from '../model/names.ts'

export type LabelMeaning =
  | 'attach'
  | 'stack'
  | 'service'
  | 'environment'
  | 'address'
  | 'dns'
  | 'dns priority'
  | 'index'

/** Every label that is read, in the order in which it is asked. */
export const honouredLabels: readonly { readonly label: string; readonly means: LabelMeaning }[] = [
  { label: 'io.rancher.container.network', means: 'attach' },
  { label: 'io.rancher.stack.name', means: 'stack' },
  { label: 'io.rancher.project.name', means: 'stack' },
  { label: 'com.docker.stack.namespace', means: 'stack' },
  { label: 'com.docker.compose.project', means: 'stack' },
  { label: 'io.rancher.stack_service.name', means: 'service' },
  { label: 'io.rancher.project_service.name', means: 'service' },
  { label: 'com.docker.swarm.service.name', means: 'service' },
  { label: 'com.docker.compose.service', means: 'service' },
  { label: 'drover.environment', means: 'environment' },
  { label: 'io.rancher.container.requested_ip', means: 'address' },
  { label: 'io.rancher.container.dns', means: 'dns' },
  { label: 'io.rancher.container.dns.priority', means: 'dns priority' },
  { label: 'com.docker.compose.container-number', means: 'index' },
  { label: 'com.docker.swarm.task.name', means: 'index' },
]

const paths = ['io.rancher.stack_service.name', 'io.rancher.project_service.name']
const requestLimit = 16
const problemLimit = 16 // the record of a container holds no more
const keyLimit = 1024 // and no longer label
const valueLimit = 16_384

type Labels = Readonly<Record<string, string>>

/** Asks the labels and remembers what could not be used. */
class Reading {
  readonly problems: string[] = []
  readonly #labels: Labels

  constructor(labels: Labels) {
    this.#labels = labels
  }

  value(label: string): string | undefined {
    return Object.hasOwn(this.#labels, label) ? this.#labels[label] : undefined
  }

  first(labels: readonly string[]): { readonly label: string; readonly value: string } | undefined {
    for (const label of labels) {
      const value = this.value(label)
      if (value !== undefined) return { label, value }
    }
    return undefined
  }

  complain(label: string, value: string, wrong: string): null {
    this.problems.push(`label ${label} is ignored: "${printable(value.toWellFormed(), 60)}" ${wrong}`)
    return null
  }

  name(label: string, value: string): string | null {
    return dnsLabel(value) === undefined ? this.complain(label, value, 'is not a DNS label') : value
  }

  flag(label: string, otherwise: boolean): boolean {
    const value = this.value(label)
    if (value === undefined) return otherwise
    const word = value.trim().toLowerCase()
    if (word === 'true' || word === 'false') return word === 'true'
    this.complain(label, value, 'is neither true nor false')
    return otherwise
  }
}

const labelsOf = (means: LabelMeaning): readonly string[] =>
  honouredLabels.filter((row) => row.means === means).map((row) => row.label)

const stackLabels = labelsOf('stack')
const serviceLabels = labelsOf('service')

interface Membership {
  readonly stack: string | null
  readonly service: string | null
  readonly sidekick: string | null
}

/** Stack, service and sidekick of `stack/service[/sidekick]`. */
function pathOf(reading: Reading): Membership | undefined {
  const found = reading.first(paths)
  if (found === undefined) return undefined
  const parts = found.value.split('/')
  const [stack = '', service = '', sidekick] = parts
  if (parts.length === 2 || parts.length === 3) {
    if (parts.every((part) => dnsLabel(part) !== undefined))
      return { stack, service, sidekick: sidekick ?? null }
  }
  reading.complain(found.label, found.value, 'is not stack/service or stack/service/sidekick')
  return { stack: null, service: null, sidekick: null }
}

/** Swarm calls a service `stack_service`; its short name is what the stack file says. */
function withoutStack(name: string, namespace: string | undefined): string {
  return namespace !== undefined && name.startsWith(`${namespace}_`) ? name.slice(namespace.length + 1) : name
}

function membershipOf(reading: Reading): Membership {
  const path = pathOf(reading)
  const stackLabel = reading.first(path?.stack ? stackLabels.slice(0, 2) : stackLabels)
  const named = stackLabel === undefined ? null : reading.name(stackLabel.label, stackLabel.value)
  const stack = stackLabel === undefined ? (path?.stack ?? null) : named
  if (path !== undefined) return { ...path, stack }
  const found = reading.first(serviceLabels)
  if (found === undefined) return { stack, service: null, sidekick: null }
  const short = withoutStack(found.value, reading.value('com.docker.stack.namespace'))
  return { stack, service: reading.name(found.label, short), sidekick: null }
}

function environmentOf(reading: Reading): string {
  const label = 'drover.environment'
  const value = reading.value(label)
  if (value === undefined) return 'default'
  if (value !== '' && printable(value.toWellFormed(), 63) === value) return value
  reading.complain(label, value, 'is not the name of an environment')
  return 'default'
}

/** What its environment and its network are, without the rest of the wish. */
export function belongingOf({ labels }: EngineContainer): Pick<Wish, 'environment' | 'managed'> {
  const reading = new Reading(labels)
  return {
    environment: environmentOf(reading),
    managed: reading.flag('io.rancher.container.network', false),
  }
}

function indexOf(reading: Reading): number | null {
  const label = 'com.docker.compose.container-number'
  const number = reading.value(label)
  if (number !== undefined) {
    if (/^[1-9]\d{0,8}$/.test(number)) return Number(number)
    return reading.complain(label, number, 'is not a number from 1')
  }
  // `service.slot.task`; a global service has its node's id in the place of the slot.
  const slot = reading.value('com.docker.swarm.task.name')?.split('.').at(-2)
  return slot !== undefined && /^[1-9]\d{0,8}$/.test(slot) ? Number(slot) : null
}

function requestedOf(reading: Reading): readonly string[] {
  const label = 'io.rancher.container.requested_ip'
  const value = reading.value(label)
  if (value === undefined) return []
  const wanted = value
    .split(',')
    .map((text) => text.trim())
    .filter((text) => text !== '')
  if (value.length <= valueLimit && wanted.length > 0 && wanted.length <= requestLimit)
    return wanted.map((text) => printable(text.toWellFormed(), 60))
  reading.complain(label, value, `is not a list of 1 to ${requestLimit} addresses`)
  return []
}

function priorityOf(reading: Reading): Wish['dnsPriority'] {
  const label = 'io.rancher.container.dns.priority'
  const value = reading.value(label)
  if (value === undefined) return 'first'
  const word = value.trim().toLowerCase()
  if (word === 'service_last') return 'last'
  if (word === 'none') return 'none'
  if (word !== 'service_first') reading.complain(label, value, 'is neither service_last nor None')
  return 'first'
}

const fits = ([key, value]: readonly [string, string]): boolean =>
  key.length <= keyLimit && value.length <= valueLimit

/** The labels that fit into a record of the store; longer ones are left out (`wishOf` says so). */
export function fittingLabels(labels: Labels): Labels {
  return Object.entries(labels).every(fits) ? labels : Object.fromEntries(Object.entries(labels).filter(fits))
}

function notePeculiarities(reading: Reading, container: EngineContainer, managed: boolean): void {
  if (managed && container.network.is === 'host')
    reading.problems.push(
      'label io.rancher.container.network is ignored: the container is on the host network',
    )
  for (const entry of Object.entries(container.labels)) {
    if (!fits(entry))
      reading.complain(printable(entry[0].toWellFormed(), 60), entry[1], 'is too long to publish')
  }
}

/** What the labels of a container ask for. */
export function wishOf(container: EngineContainer): Wish {
  const reading = new Reading(container.labels)
  const managed = reading.flag('io.rancher.container.network', false)
  const environment = environmentOf(reading)
  const { stack, service, sidekick } = membershipOf(reading)
  const index = indexOf(reading)
  const requestedAddresses = requestedOf(reading)
  const dns = reading.flag('io.rancher.container.dns', true)
  const dnsPriority = priorityOf(reading)
  notePeculiarities(reading, container, managed)
  const problems = reading.problems.slice(0, problemLimit)
  return {
    managed,
    environment,
    stack,
    service,
    sidekick,
    index,
    requestedAddresses,
    dns,
    dnsPriority,
    problems,
  }
}
