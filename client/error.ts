/**
 * What a call of the client rejects with, other than the reason of the caller's own signal.
 */

const codes = {
  /** Nothing is at this path. */
  NOT_FOUND: false,
  /** The service answers, but has nothing to show yet. */
  NOT_READY: true,
  /** No connection, or one that broke. */
  UNREACHABLE: true,
  /** No answer in time. */
  TIMEOUT: true,
  /** The service is in trouble, or has had enough of this client: 408, 429 and 5xx. */
  BUSY: true,
  /** An answer that is none of the contract. */
  UNEXPECTED: false,
} as const

export type MetadataErrorCode = keyof typeof codes

export class MetadataError extends Error {
  override readonly name = 'MetadataError'
  readonly code: MetadataErrorCode

  constructor(code: MetadataErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }

  /** Whether the same question may have an answer later. */
  get temporary(): boolean {
    return codes[this.code]
  }
}
