/**
 * What the admin API offers and shows of trust: tokens as commands, and what is wrong with certificates.
 */
import type { Clock } from '../model/ports.ts'
import type { Problem } from '../status/status.ts'
import type { Door } from './door.ts'
import { certificateProblems } from './renewal.ts'
import type { TrustParts } from './trust-parts.ts'

type Wish = Readonly<Record<string, unknown>>

export const trustCommands = (door: () => Door) => ({
  'tokens/create': ({ ttl, uses }: Wish) =>
    door().create({
      ...(typeof ttl === 'string' ? { ttl } : {}),
      ...(uses === undefined ? {} : { uses: Number(uses) }),
    }),
  'tokens/revoke': ({ id }: Wish) => door().revoke(String(id ?? '')),
})

export function trustProblems(
  { keeper, problem }: TrustParts,
  door: string,
  clock: Clock,
): readonly Problem[] {
  const locked = { what: problem, remedy: 'joins and renewals wait for it' }
  const shut = { what: `the join endpoint: ${door}`, remedy: 'nobody can join until it listens' }
  return [
    ...(problem === '' ? [] : [locked]),
    ...(door === '' ? [] : [shut]),
    ...certificateProblems(keeper, clock),
  ]
}
