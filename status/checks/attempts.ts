/**
 * Who wrote into the store what does not count, and who knocked at the join endpoint without a good token: what
 * was noted since the daemon started, one line for each of them. Pure.
 */
import { type Finding, timeText, warningIn } from '../finding.ts'

/** The same thing, done by the same one, as often as it was. */
export interface Attempt {
  /** A host by name or id, an address, or what is known of whoever it was. */
  readonly who: string
  readonly what: string
  readonly times: number
  /** Milliseconds since the epoch. */
  readonly first: number
  readonly last: number
}

export interface Attempts {
  readonly writes: readonly Attempt[]
  readonly joins: readonly Attempt[]
}

export const tampering = ({ writes }: Attempts): readonly Finding[] =>
  writes.map((one) =>
    warningIn(
      'trust',
      `somebody wrote into the store without right, ${one.who}: ${one.what}${often(one)}`,
      'nothing changed by it; find out who can write to the store',
    ),
  )

export const refusedJoins = ({ joins }: Attempts): readonly Finding[] =>
  joins.map((one) =>
    warningIn(
      'trust',
      `${one.who} was not let in: ${one.what}${often(one)}`,
      'if nobody of yours tried, close the TCP port of join.port towards it; `drover token list` shows what is valid',
    ),
  )

const often = ({ times, first, last }: Attempt): string =>
  times === 1 ? `, ${timeText(last)}` : `, ${times} times from ${timeText(first)} to ${timeText(last)}`
