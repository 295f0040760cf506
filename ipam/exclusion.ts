/**
 * How a block excludes pinned addresses: conditions on the store's keys that hold exactly when no address of
 * the block is pinned. Keys are text, so a block is covered by the fewest keys and key prefixes whose addresses
 * are all inside it: at most a few dozen, well below etcd's limit of 128 operations.
 */
import { type Cidr, type Ipv4, networkOf } from '../model/ip.ts'
import type { Keys } from '../model/keys.ts'
import type { Condition } from '../store/store.ts'

/** Conditions that hold exactly when no address of the block has a key. */
export function noPinInside(keys: Keys, block: Cidr): readonly Condition[] {
  const { first, last } = networkOf(block)
  const parent = keys.pin(0 as Ipv4).slice(0, -'0.0.0.0'.length)
  return below(parent, 0, 0, { first, last })
}

interface Bounds {
  readonly first: number
  readonly last: number
}

/** Conditions for the octet at `depth` below `parent`, whose addresses start at `base`. */
function below(parent: string, depth: number, base: number, bounds: Bounds): readonly Condition[] {
  const weight = 2 ** (24 - 8 * depth)
  const low = Math.max(0, Math.floor((bounds.first - base) / weight))
  const high = Math.min(255, Math.floor((bounds.last - base) / weight))
  if (depth === 3) return octets(parent, '', low, high)
  return Array.from({ length: high - low + 1 }, (_, at) => low + at).flatMap(
    (octet): readonly Condition[] => {
      const start = base + octet * weight
      const key = `${parent}${octet}.`
      const whole = start >= bounds.first && start + weight - 1 <= bounds.last
      return whole ? [{ prefix: key, is: 'empty' }] : below(key, depth + 1, start, bounds)
    },
  )
}

/** Conditions for the last octets from `low` to `high` whose decimal text starts with `head`. */
function octets(parent: string, head: string, low: number, high: number): readonly Condition[] {
  const starting = Array.from({ length: 256 }, (_, octet) => octet).filter((octet) =>
    `${octet}`.startsWith(head),
  )
  const inside = starting.filter((octet) => octet >= low && octet <= high)
  if (inside.length === 0) return []
  const own = head !== '' && inside.includes(Number(head))
  if (inside.length === 1 && own) return [{ key: `${parent}${head}`, is: 'absent' }]
  if (inside.length === starting.length) return [{ prefix: `${parent}${head}`, is: 'empty' }]
  const deeper = Array.from({ length: 10 }, (_, digit) => `${head}${digit}`)
    .filter((next) => next === '0' || !next.startsWith('0'))
    .flatMap((next) => octets(parent, next, low, high))
  return own ? [{ key: `${parent}${head}`, is: 'absent' }, ...deeper] : deeper
}
