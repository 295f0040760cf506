/**
 * Changes of the book as entries of the ledger, and back: `ipam/address/<ip>`, `ipam/block/<cidr>` and
 * `ipam/renewed`. Pure. An entry that does not parse is named and left out, never guessed.
 */
import { formatIpv4, parseCidr, parseIpv4 } from '../model/ip.ts'
import { containerIdField, hostIdField } from '../model/records.ts'
import { type Instant, instant, millis } from '../model/time.ts'
import type { Change, Use } from './book.ts'
import type { Stamp } from './fence.ts'

const addresses = 'ipam/address/'
const blocks = 'ipam/block/'
const renewal = 'ipam/renewed'

/** What the ledger must be told before the changes may be acted on. */
export function entriesOf(changes: readonly Change[]): ReadonlyMap<string, string | undefined> {
  return new Map(
    changes.map((change) =>
      change.of === 'address'
        ? [`${addresses}${formatIpv4(change.address)}`, change.use && JSON.stringify(change.use)]
        : [`${blocks}${change.cidr}`, change.state],
    ),
  )
}

/** `bootId`: which run of the kernel the boot time belongs to. */
export const renewalEntry = ({ boot, wall }: Stamp, bootId: string): ReadonlyMap<string, string> =>
  new Map([[renewal, JSON.stringify({ boot, wall, bootId })]])

export interface Recovered {
  readonly changes: readonly Change[]
  readonly renewed: Stamp | undefined
  /** Keys of entries that do not parse. */
  readonly unreadable: readonly string[]
}

/** A renewal in another run of the kernel tells nothing: its boot time cannot be compared. */
export function recover(entries: ReadonlyMap<string, string>, bootId: string): Recovered {
  const found: Change[] = []
  const unreadable: string[] = []
  for (const [key, value] of entries) {
    if (!key.startsWith(addresses) && !key.startsWith(blocks)) continue
    const change = changeOf(key, value)
    if (change === undefined) unreadable.push(key)
    else found.push(change)
  }
  // Blocks first, so that addresses find theirs.
  const changes = found.sort((one, other) => (one.of === other.of ? 0 : one.of === 'block' ? -1 : 1))
  return { changes, renewed: stampOf(entries.get(renewal), bootId), unreadable }
}

function changeOf(key: string, value: string): Change | undefined {
  if (key.startsWith(blocks)) {
    const cidr = parseCidr(key.slice(blocks.length))
    if (cidr === undefined || (value !== 'owned' && value !== 'returning')) return undefined
    return { of: 'block', cidr, state: value }
  }
  const address = parseIpv4(key.slice(addresses.length))
  const use = useOf(jsonOf(value))
  return address === undefined || use === undefined ? undefined : { of: 'address', address, use }
}

type Fields = Readonly<Record<string, unknown>>

function jsonOf(text: string | undefined): Fields {
  try {
    const value: unknown = JSON.parse(text ?? '')
    return typeof value === 'object' && value !== null ? (value as Fields) : {}
  } catch {
    return {}
  }
}

const instantOf = (value: unknown): Instant | null => (typeof value === 'number' ? instant(value) : null)

function useOf(json: Fields): Use | undefined {
  const container = containerIdField.safeParse(json.container).data
  const host = hostIdField.safeParse(json.host).data
  const pin = json.pin === true
  if (json.is === 'host') return { is: 'host' }
  if (json.is === 'lent' && host !== undefined) return { is: 'lent', host, container: container ?? null }
  if (json.is === 'resting') return { is: 'resting', until: instantOf(json.until) ?? instant(0), pin }
  if (json.is !== 'container' || container === undefined) return undefined
  const problem = typeof json.problem === 'string' ? json.problem : ''
  return { is: 'container', container, pin, stoppedAt: instantOf(json.stoppedAt), problem }
}

function stampOf(text: string | undefined, bootId: string): Stamp | undefined {
  const { boot, wall, bootId: then } = jsonOf(text)
  return typeof boot === 'number' && typeof wall === 'number' && then === bootId
    ? { boot: millis(boot), wall: instant(wall) }
    : undefined
}
