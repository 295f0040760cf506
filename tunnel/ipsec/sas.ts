/**
 * What charon says of its security associations (`list-sas` of VICI), and which of them are too many. Pure.
 *
 * Both sides may initiate at once, and a peer that started again has new ones while the old ones still stand: the
 * newest that carries stays. Only one of the two sides ends the others, or each might end what the other keeps.
 */
import type { HostId } from '../../model/records.ts'
import { isList, isSection, type ViciSection } from './vici-message.ts'

export interface ChildSa {
  /** Charon's number of it. */
  readonly id: number
  /** INSTALLED, REKEYING and so on; strongSwan's names. */
  readonly state: string
  /** Eight hex digits. */
  readonly spiIn: string
  readonly spiOut: string
  readonly bytesIn: number
  readonly bytesOut: number
  /** Seconds since it was installed. */
  readonly age: number
  readonly remote: readonly string[]
}

export interface IkeSa {
  readonly id: number
  /** The connection that it is of: a host id. While it is CONNECTING, the first that fits the address. */
  readonly host: HostId
  readonly state: string
  /** Where the peer is: `192.0.2.1:4500`. */
  readonly endpoint: string
  /** Seconds since it was established. */
  readonly age: number
  readonly initiator: boolean
  readonly children: readonly ChildSa[]
}

/** From the events that `list-sas` streams. */
export function ikeSasIn(events: readonly ViciSection[]): readonly IkeSa[] {
  return events.flatMap((event) =>
    Object.entries(event).flatMap(([host, sa]) => (isSection(sa) ? [ikeSaOf(host as HostId, sa)] : [])),
  )
}

function ikeSaOf(host: HostId, sa: ViciSection): IkeSa {
  const children = isSection(sa['child-sas']) ? Object.values(sa['child-sas']) : []
  return {
    id: numberIn(sa, 'uniqueid'),
    host,
    state: textIn(sa, 'state'),
    endpoint: endpointText(textIn(sa, 'remote-host'), textIn(sa, 'remote-port')),
    age: numberIn(sa, 'established'),
    initiator: sa.initiator === 'yes',
    children: children.filter(isSection).map(childOf),
  }
}

function childOf(child: ViciSection): ChildSa {
  const remote = child['remote-ts']
  return {
    id: numberIn(child, 'uniqueid'),
    state: textIn(child, 'state'),
    spiIn: textIn(child, 'spi-in'),
    spiOut: textIn(child, 'spi-out'),
    bytesIn: numberIn(child, 'bytes-in'),
    bytesOut: numberIn(child, 'bytes-out'),
    age: numberIn(child, 'install-time'),
    remote: isList(remote) ? remote : [],
  }
}

const textIn = (section: ViciSection, key: string): string => {
  const value = section[key]
  return typeof value === 'string' ? value : ''
}
const numberIn = (section: ViciSection, key: string): number => Number(textIn(section, key)) || 0

const endpointText = (address: string, port: string): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

export const isUp = (sa: IkeSa): boolean => sa.state === 'ESTABLISHED'
export const carries = (child: ChildSa): boolean => child.state === 'INSTALLED'

/** What is to be ended: IKE SAs with all they have, and single children. */
export interface Surplus {
  readonly ike: readonly number[]
  readonly children: readonly number[]
}

/** The other side has had its time to do it, or is none of ours. */
const patience = 30

export function surplusOf(sas: readonly IkeSa[], self: HostId): Surplus {
  const perHost = Map.groupBy(sas.filter(isUp), ({ host }) => host)
  const found = [...perHost].map(([host, ofHost]) => surplusOfHost(ofHost, self < host))
  return { ike: found.flatMap(({ ike }) => ike), children: found.flatMap(({ children }) => children) }
}

function surplusOfHost(sas: readonly IkeSa[], ours: boolean): Surplus {
  const [newest, ...others] = sas
    .filter(({ children }) => children.some(carries))
    .sort((one, other) => one.age - other.age || other.id - one.id)
  if (newest === undefined) return { ike: [], children: [] }
  const [child, ...rest] = newest.children
    .filter(carries)
    .sort((one, other) => one.age - other.age || other.id - one.id)
  const due = (kept: { readonly age: number } | undefined): boolean =>
    ours || (kept !== undefined && kept.age > patience)
  return {
    ike: due(newest) ? others.map(({ id }) => id) : [],
    children: due(child) ? rest.map(({ id }) => id) : [],
  }
}
