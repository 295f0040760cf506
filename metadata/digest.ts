/**
 * Digests of what is shown: pure functions, from Node's own library because they run on every answer.
 */
import { hash } from 'node:crypto'

/** Of one object or body: tells contents apart, is no protection against a forger. */
export const digestOf = (content: string | Buffer): string => hash('sha1', content, 'base64url')

/** Of everything together: 16 bytes. */
export const versionBytes = (content: string): Uint8Array => hash('sha256', content, 'buffer').subarray(0, 16)
