/**
 * What the admin API offers and shows of trust: tokens and removals as commands, and what is wrong with certificates.
 */
import type { Clock } from '../model/ports.ts'
import { errorIn, type Finding, type Problem } from '../status/finding.ts'
import type { Control } from './control.ts'
import type { Refused } from './fold.ts'
import { certificateProblems } from './renewal.ts'
import type { TrustParts } from './trust-parts.ts'

type Wish = Readonly<Record<string, unknown>>

export const trustCommands = (control: () => Pick<Control, 'door' | 'removal'>) => ({
  'tokens/create': ({ ttl, uses }: Wish) =>
    control().door.create({
      ...(typeof ttl === 'string' ? { ttl } : {}),
      ...(uses === undefined ? {} : { uses: Number(uses) }),
    }),
  'tokens/revoke': ({ id }: Wish) => control().door.revoke(String(id ?? '')),
  'hosts/remove': ({ host }: Wish) => control().removal.remove(String(host ?? '')),
})

export function trustProblems(
  { keeper, problem }: TrustParts,
  control: Pick<Control, 'door' | 'refused'> | undefined,
  clock: Clock,
): readonly Finding[] {
  const door = control?.door.problem ?? ''
  const locked = { what: problem, remedy: 'joins and renewals wait for it' }
  const shut = { what: `the join endpoint: ${door}`, remedy: 'nobody can join until it listens' }
  const problems = [
    ...(problem === '' ? [] : [locked]),
    ...(door === '' ? [] : [shut]),
    ...certificateProblems(keeper, clock),
    ...refusedProblems(control?.refused ?? []),
  ]
  return problems.map(({ what, remedy }) => errorIn('trust', what, remedy))
}

/** Many are one attempt: the first ones say what it is. */
const shown = 20

export function refusedProblems(refused: readonly Refused[]): readonly Problem[] {
  const remedy = 'find out who wrote it: whoever can write to the store changes nothing by it, but should not'
  const some = refused.slice(0, shown).map(({ key, why }) => ({
    what: `the record ${key.slice(0, 200)} in the store does not count: ${why}`,
    remedy,
  }))
  const rest = refused.length - some.length
  return rest === 0 ? some : [...some, { what: `${rest} more records in the store do not count`, remedy }]
}
