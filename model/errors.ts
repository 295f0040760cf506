/**
 * The error of ours, by a code of the closed table, and what is made of errors of others.
 */
import type { Culprit } from './error-row.ts'
import { errorTable } from './error-table.ts'

export type ErrorCode = keyof typeof errorTable

export type ErrorFields = Readonly<Record<string, string | number | boolean | undefined>>

export class DroverError extends Error {
  readonly code: ErrorCode
  readonly detail: string
  readonly fields: ErrorFields

  /** `detail` names what and where, for a person; `fields` are the same facts for a log. */
  constructor(code: ErrorCode, detail: string, options: { fields?: ErrorFields; cause?: unknown } = {}) {
    super(`${errorTable[code].says}: ${detail}`, { cause: options.cause })
    this.name = 'DroverError'
    this.code = code
    this.detail = detail
    this.fields = options.fields ?? {}
  }

  get culprit(): Culprit {
    return errorTable[this.code].culprit
  }

  get remedy(): string {
    return errorTable[this.code].remedy
  }

  /** One line for an operator: what is wrong, where, and what to do. */
  get line(): string {
    return `${this.message}; ${this.remedy}`
  }
}

/** Of a daemon that may be of another version. */
export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(errorTable, text)

/** The message of whatever was thrown. */
export const reasonOf = (thrown: unknown): string =>
  thrown instanceof Error ? thrown.message : String(thrown)

/** Whether it is one of ours that trying again may mend. */
export const mayPass = (thrown: unknown): thrown is DroverError =>
  thrown instanceof DroverError && thrown.culprit === 'retry'

/** Marks a switch as exhaustive: a new member of a union that is not handled does not compile. */
export function unreachable(value: never): never {
  throw new TypeError(`unreachable: ${JSON.stringify(value)}`)
}
