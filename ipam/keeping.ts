/**
 * Which claims in the store this host stands by: what it owns in its book. Pure. While it could renew, nobody else
 * can have taken them, so that a key that is gone was lost by the store (restored from a backup, emptied, or
 * somebody took it out) and is written again.
 */
import type { Cidr, Ipv4 } from '../model/ip.ts'
import { type Keys, meaningOf } from '../model/keys.ts'
import type { Book, Change } from './book.ts'

/** `busy`: what is being written just now, so that nobody knows how it ends. */
export function isKept(key: string, keys: Keys, book: Book, busy: ReadonlySet<Cidr | Ipv4>): boolean {
  const meaning = meaningOf(keys.prefix, key)
  if (meaning.is === 'block') return book.stateOf(meaning.cidr) === 'owned' && !busy.has(meaning.cidr)
  if (meaning.is !== 'pin' || busy.has(meaning.address)) return false
  const use = book.uses.get(meaning.address)
  return use?.is === 'container' && use.pin
}

/** Keys of blocks that these changes give up. */
export const givenUp = (changes: readonly Change[], keys: Keys): readonly string[] =>
  changes.flatMap((change) =>
    change.of === 'block' && change.state === undefined ? [keys.block(change.cidr)] : [],
  )
