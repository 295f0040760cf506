/**
 * What the table of errors says of each: who is to blame, and so what happens to it.
 * `operator` ends in one line and exit code 2, `retry` backs off and counts, `peer` is counted and dropped,
 * `us` crashes early with its stack.
 */
export type Culprit = 'operator' | 'retry' | 'peer' | 'us'

export interface ErrorRow {
  readonly culprit: Culprit
  /** A constant sentence: what is wrong. */
  readonly says: string
  /** What to do about it. */
  readonly remedy: string
}
