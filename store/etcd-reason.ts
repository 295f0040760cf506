/**
 * Why etcd is not there, in one line: of what gRPC tells, the last error, and what an operator can mend where TLS is in
 * the way. Pure.
 */
import { reasonOf } from '../model/errors.ts'

/** What OpenSSL and Node say, and what it means here. */
const meanings: readonly (readonly [RegExp, string])[] = [
  [
    /alert ([a-z ]*certificate[a-z ]*|unknown ca)/,
    'it does not accept the certificate that this host shows (store.cert; without it and store.ca, the own one)',
  ],
  [
    /unable to (?:verify|get)[a-z ]* certificate|self.signed certificate/,
    'its certificate is of no authority that counts here (store.ca)',
  ],
  [/does not match certificate's altnames.*/, 'its certificate does not name this address'],
  [/certificate (?:has expired|is not yet valid)/, 'its certificate is not valid now'],
]

export function etcdReason(thrown: unknown): string {
  const text = reasonOf(thrown).replace(/\s+/g, ' ').trim()
  const [, last] = /Last error: (.*?) ?(?:\([\d\-T:.]+Z\))?\. Resolution note:/.exec(text) ?? []
  const reason = last ?? text
  for (const [pattern, meaning] of meanings) {
    const found = pattern.exec(reason)
    if (found !== null) return `${meaning}: ${found[0]}`
  }
  return reason
}
