/**
 * Search on the server: which local names a name outside our domain may stand for, and whether they come before or
 * after the upstreams. Works for resolvers that do no search of their own; `safe` keeps it from capturing names
 * that somebody in the world owns.
 */
import { labelsOf, type Name } from '../codec/name.ts'
import { isDelegatedTld } from './tlds.ts'

/** `always` as Rancher did, for any number of labels; `safe` one or two; `never` leaves it to the client. */
export const searchModes = ['always', 'safe', 'never'] as const
export type SearchMode = (typeof searchModes)[number]

export type Turn =
  /** A local name answers at once. */
  | 'local'
  /** The upstreams are asked first; local names answer what does not exist there. */
  | 'upstream'
  | 'none'

export function turnOf(name: Name, mode: SearchMode): Turn {
  const labels = labelsOf(name)
  if (mode === 'never' || labels.length === 0) return 'none'
  if (mode === 'always' || labels.length === 1) return 'local'
  if (labels.length > 2) return 'none'
  return isDelegatedTld(labels[1] ?? '') ? 'upstream' : 'local'
}

/**
 * Whether the upstreams are never asked for it: a single label that is no top-level domain is a mistyped name of ours,
 * and nobody's business; nor does it wait for dead upstreams.
 */
export function staysHere(name: Name, mode: SearchMode): boolean {
  const labels = labelsOf(name)
  return mode === 'safe' && labels.length === 1 && !isDelegatedTld(labels[0] ?? '')
}

export const candidatesOf = (name: Name, search: readonly Name[]): readonly Name[] =>
  search.map((suffix) => `${name}.${suffix}`)
