/**
 * The rows of the table of errors that are about who belongs here.
 */
import type { ErrorRow } from './error-row.ts'

export const trustErrors = {
  TOKEN_INVALID: {
    culprit: 'operator',
    says: 'the token is not valid',
    remedy: 'paste the whole line that `drover token create` printed',
  },
  TOKEN_REFUSED: {
    culprit: 'operator',
    says: 'the token was refused',
    remedy: 'make a new one on the first host: `drover token create`',
  },
  JOIN_UNREACHABLE: {
    culprit: 'operator',
    says: 'the host that made the token does not let this one in',
    remedy: 'open the TCP port named here towards it; it listens only while a token is valid',
  },
  JOIN_UNPROVEN: {
    culprit: 'operator',
    says: 'whoever answers is not the host that made the token',
    remedy: 'nothing was sent to it; find out who holds the address named here',
  },
  AUTHORITY_DAMAGED: {
    culprit: 'operator',
    says: 'the key file of the CA cannot be read',
    remedy: 'restore it with `drover ca import FILE` from a backup that `drover ca export` made',
  },
  AUTHORITY_LOCKED: {
    culprit: 'operator',
    says: 'the key of the CA is locked',
    remedy: 'give its passphrase in DROVER_CA_PASSPHRASE or `ca.passphrase`',
  },
  AUTHORITY_ELSEWHERE: {
    culprit: 'operator',
    says: 'this host does not hold the key of the CA',
    remedy: 'run the command on the host that ran `drover init`, or first `drover ca import FILE` here',
  },
  AUTHORITY_OUTDATED: {
    culprit: 'operator',
    says: 'the key of the CA here is of no use any more',
    remedy:
      'run `drover ca promote HOST` for this host where the new CA is, or `drover ca import` its backup',
  },
  AUTHORITY_ROLLING: {
    culprit: 'operator',
    says: 'a new CA is taking the place of the former one already',
    remedy:
      '`drover ca show` says what still needs the former one; it goes by itself, or with `drover ca drop --force`',
  },
  AUTHORITY_NEEDED: {
    culprit: 'operator',
    says: 'the former CA is still needed',
    remedy:
      'wait until hosts have renewed their certificates, give etcd new ones, or add --force to cut off what is named here',
  },
  AUTHORITY_NOT_TAKEN: {
    culprit: 'operator',
    says: 'the other host has not taken the key of the CA',
    remedy: 'mend what it says and try again; `drover ca export` and `drover ca import` are the way by hand',
  },
  CERTIFICATE_MISSING: {
    culprit: 'operator',
    says: 'this host has no certificate',
    remedy:
      'run `drover daemon --leave`, then `drover init` on the first host or `drover join TOKEN` on another',
  },
  CERTIFICATE_EXPIRED: {
    culprit: 'operator',
    says: 'the certificate has expired',
    remedy:
      "check the clock; if it is right, start the CA's host, or enter again: `drover daemon --leave`, `drover join TOKEN`",
  },
  CERTIFICATE_NOT_YET_VALID: {
    culprit: 'operator',
    says: 'the certificate is not valid yet',
    remedy: "set the clocks of this host and of the CA's host (`timedatectl`)",
  },
  CERTIFICATE_SELF_SIGNED: {
    culprit: 'operator',
    says: 'the certificate is signed by itself',
    remedy: 'enter with a certificate of this environment: `drover join TOKEN`',
  },
  CERTIFICATE_WRONG_CA: {
    culprit: 'operator',
    says: "the certificate is not of this environment's CA",
    remedy: 'enter with a certificate of this environment: `drover join TOKEN`',
  },
  CERTIFICATE_WRONG_NAME: {
    culprit: 'operator',
    says: 'the certificate is for somebody else',
    remedy: 'restore identity.json and trust.json of the same host, or enter again: `drover join TOKEN`',
  },
  CERTIFICATE_REVOKED: {
    culprit: 'operator',
    says: 'the certificate is revoked',
    remedy: 'to let the machine in again: `drover daemon --leave` there, then `drover join TOKEN`',
  },
  CERTIFICATE_DAMAGED: {
    culprit: 'operator',
    says: 'the certificate cannot be read',
    remedy: 'restore trust.json from a backup, or enter again: `drover daemon --leave`, `drover join TOKEN`',
  },
} as const satisfies Record<string, ErrorRow>
