/**
 * What the admin API offers and shows of trust: tokens, removals and the CA as commands and views, and what is
 * wrong with certificates.
 */
import type { Clock } from '../../model/ports.ts'
import type { BackupNote } from '../../pki/backup-note.ts'
import { errorIn, type Finding, type Problem, timeText, warningIn } from '../../status/finding.ts'
import type { Control } from '../control.ts'
import type { Refused } from '../records/fold.ts'
import { certificateProblems } from './renewal.ts'
import type { TrustParts } from './trust-parts.ts'

/** What only the running daemon knows of the CA. */
export interface CaState {
  /** Fingerprint of the authority that issues now. */
  readonly newest: string
  /** Hosts that hold the key of one, and of which. */
  readonly holders: readonly { readonly name: string; readonly authority: string }[]
  /** What still needs the former one, as the holder sees it. */
  readonly needs: readonly string[]
}

type Wish = Readonly<Record<string, unknown>>

export const trustViews = (control: () => Control, { holder, keeper }: TrustParts) => ({
  tokens: () => control().trust.door.list(),
  ca: (): CaState => ({
    newest: keeper.newest?.fingerprint ?? '',
    holders: [...(control().environment?.hosts.values() ?? [])]
      .flatMap(({ record: { name, authority } }) => (authority === undefined ? [] : [{ name, authority }]))
      .sort((one, other) => one.name.localeCompare(other.name)),
    needs: holder.authority === undefined ? [] : control().trust.succession.needs,
  }),
})

export const trustCommands = (control: () => Pick<Control, 'trust'>) => ({
  'tokens/create': ({ ttl, uses }: Wish) =>
    control().trust.door.create({
      ...(typeof ttl === 'string' ? { ttl } : {}),
      ...(uses === undefined ? {} : { uses: Number(uses) }),
    }),
  'tokens/revoke': ({ id }: Wish) => control().trust.door.revoke(String(id ?? '')),
  'hosts/remove': ({ host }: Wish) => control().trust.removal.remove(String(host ?? '')),
  'ca/roll': () => control().trust.succession.roll(),
  'ca/drop': ({ force }: Wish) => control().trust.succession.drop(force === true),
  'ca/promote': ({ host }: Wish) => control().trust.promotion.promote(String(host ?? '')),
})

export function trustProblems(
  { keeper, holder }: TrustParts,
  control: Pick<Control, 'trust' | 'refused'> | undefined,
  clock: Clock,
): readonly Finding[] {
  const door = control?.trust.door.problem ?? ''
  const { problem } = holder
  const locked = { what: problem, remedy: 'joins and renewals wait for it' }
  const shut = { what: `the join endpoint: ${door}`, remedy: 'nobody can join until it listens' }
  const problems = [
    ...(problem === '' ? [] : [locked]),
    ...(door === '' ? [] : [shut]),
    ...certificateProblems(keeper, clock),
    ...(control?.trust.renewal.problems ?? []),
    ...(control?.trust.succession.problems ?? []),
    ...refusedProblems(control?.refused ?? []),
  ]
  return [
    ...problems.map(({ what, remedy }) => errorIn('trust', what, remedy)),
    ...backupProblems(holder.outdatedBackup),
  ]
}

export const backupProblems = (outdated: BackupNote | undefined): readonly Finding[] =>
  outdated === undefined
    ? []
    : [
        warningIn(
          'trust',
          `the newest backup of the CA's key, of ${timeText(outdated.at)}, is of a CA whose place another has taken`,
          'make one of the present CA: `drover ca export FILE`',
        ),
      ]

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
