/**
 * What a check finds, in words for an operator. A check is a pure function from facts to findings: the same facts
 * give the same findings, and a fact that could not be had gives none.
 */
/** What a finding is about: `drover doctor` groups by it, in this order. */
export const parts = [
  'daemon',
  'configuration',
  'machine',
  'docker',
  'store',
  'trust',
  'network',
  'tunnel',
  'hosts',
  'containers',
  'dns',
] as const
export type Part = (typeof parts)[number]

/** `error`: something does not work. `warning`: it works, but not as it should, or not for long. */
export type Severity = 'error' | 'warning'

/** What is wrong, and what to do. */
export interface Problem {
  /** What is wrong, and exactly where. */
  readonly what: string
  readonly remedy: string
}

export interface Finding extends Problem {
  readonly severity: Severity
  readonly where: Part
}

export type Check<Facts> = (facts: Facts) => readonly Finding[]

export const findingsOf = <Facts>(checks: readonly Check<Facts>[], facts: Facts): readonly Finding[] =>
  checks.flatMap((check) => check(facts))

export const errorIn = (where: Part, what: string, remedy: string): Finding => ({
  severity: 'error',
  where,
  what,
  remedy,
})

export const warningIn = (where: Part, what: string, remedy: string): Finding => ({
  severity: 'warning',
  where,
  what,
  remedy,
})

/** A point in time for an operator. */
export const timeText = (at: number): string => new Date(at).toISOString()
