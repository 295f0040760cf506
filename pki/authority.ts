/**
 * The environment's CA: an RSA key of 3072 bits and its certificate in one file of mode 0600, whole or absent.
 * The key may be encrypted with a passphrase; then the file can be looked at without it, but nothing signed.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign, verify } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { utf8 } from '../model/bytes.ts'
import { DroverError, reasonOf } from '../model/errors.ts'
import { type Instant, later, type Millis } from '../model/time.ts'
import type { Uuid } from '../model/uuid.ts'
import {
  type Certificate,
  ed25519Key,
  makeCertificate,
  type Role,
  readCertificate,
  type Subject,
} from './certificate.ts'
import { type Damaged, readPrivate, writeOnce } from './private-file.ts'
import { authorityLifetime, backdate, hostLifetime, serverLifetime } from './trust.ts'

export interface EnvironmentName {
  readonly name: string
  readonly uuid: Uuid
}

export interface Authority {
  readonly environment: EnvironmentName
  readonly certificate: Certificate
  /** A certificate for a host's signing key. */
  issueHost(host: string, signingKey: string, now: Instant): Certificate
  /** Key and certificate of a join endpoint at these addresses, both PEM. */
  issueJoin(addresses: readonly string[], now: Instant): { readonly key: string; readonly cert: string }
  /** The same for a member of an etcd, for a year: nobody renews it by itself. */
  issueServer(addresses: readonly string[], now: Instant): { readonly key: string; readonly cert: string }
  sign(text: string): string
}

interface Written {
  readonly environment: EnvironmentName
  readonly certificate: string
  readonly key: string
}

const fileName = 'authority.json'
const damaged: Damaged = (path, why, cause) =>
  new DroverError('AUTHORITY_DAMAGED', `${path}: ${why}`, { fields: { path }, cause })

export const authorityFile = (folder: string): string => join(folder, fileName)

export interface AuthorityOptions {
  readonly environment: EnvironmentName
  readonly passphrase: string | undefined
  readonly now: Instant
}

/** The one that is there, or a new one. */
export function loadOrCreateAuthority(folder: string, options: AuthorityOptions): Authority {
  const standing = loadAuthority(folder, options.passphrase)
  if (standing !== undefined) return standing
  const { environment, passphrase, now } = options
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 3072 })
  const subject = subjectOf(environment, { is: 'authority' }, publicKey, now, authorityLifetime)
  const certificate = makeCertificate(subject, { certificate: undefined, key: privateKey })
  const key = privateKey.export({
    format: 'pem',
    type: 'pkcs8',
    ...(passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase }),
  })
  const written: Written = { environment, certificate: certificate.pem, key: key.toString() }
  writeOnce(authorityFile(folder), `${JSON.stringify(written)}\n`, damaged)
  const made = loadAuthority(folder, passphrase)
  if (made === undefined) throw damaged(authorityFile(folder), 'it was removed while it was made')
  return made
}

/** Undefined where this host does not hold the key; AUTHORITY_LOCKED without the right passphrase. */
export function loadAuthority(folder: string, passphrase: string | undefined): Authority | undefined {
  const text = readPrivate(authorityFile(folder), damaged)
  return text === undefined ? undefined : authorityOf(text, authorityFile(folder), passphrase)
}

/** Writes a backup of mode 0600 in a place where no file is; the key stays encrypted where it is. */
export function exportAuthority(folder: string, file: string): { readonly encrypted: boolean } {
  const text = readPrivate(authorityFile(folder), damaged)
  if (text === undefined) throw new DroverError('AUTHORITY_ELSEWHERE', authorityFile(folder))
  const { key } = writtenOf(text, authorityFile(folder))
  try {
    writeFileSync(file, text, { mode: 0o600, flag: 'wx', flush: true })
  } catch (cause) {
    throw new DroverError('STATE_UNUSABLE', `${file}: ${reasonOf(cause)}`, { cause })
  }
  return { encrypted: key.includes('ENCRYPTED') }
}

export interface ImportOptions {
  readonly passphrase: string | undefined
  /** Whether it is the CA that belongs here. */
  readonly accepts: (authority: Authority) => boolean
}

/** Takes a backup, if its key can be opened and it is the right one. */
export function importAuthority(folder: string, text: string, options: ImportOptions): Authority {
  const authority = authorityOf(text, 'the backup', options.passphrase)
  if (!options.accepts(authority))
    throw damaged('the backup', 'it is of another environment, or of another CA')
  writeOnce(authorityFile(folder), text, damaged)
  return authority
}

/** For a machine that turned out not to be the first, or entered another environment. */
export const removeAuthority = (folder: string): void => rmSync(authorityFile(folder), { force: true })

function authorityOf(text: string, path: string, passphrase: string | undefined): Authority {
  const { environment, certificate: pem, key: encoded } = writtenOf(text, path)
  const certificate = readCertificate(pem)
  if (certificate === undefined) throw damaged(path, 'its certificate cannot be read')
  const key = keyOf(encoded, path, passphrase)
  if (!certificate.x509.checkPrivateKey(key)) throw damaged(path, 'its key is not that of its certificate')
  const issue = (subject: Subject) => makeCertificate(subject, { certificate, key })
  const server = (role: Role, addresses: readonly string[], now: Instant, lifetime: Millis) => {
    const pair = generateKeyPairSync('ed25519')
    const leaf = issue(subjectOf(environment, role, pair.publicKey, now, lifetime, addresses))
    const exported = pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
    return { key: exported, cert: leaf.pem + certificate.pem }
  }
  return {
    environment,
    certificate,
    issueHost: (host, signingKey, now) =>
      issue(subjectOf(environment, { is: 'host', host }, ed25519Key(signingKey), now, hostLifetime)),
    issueJoin: (addresses, now) => server({ is: 'join' }, addresses, now, hostLifetime),
    issueServer: (addresses, now) => server({ is: 'server' }, addresses, now, serverLifetime),
    sign: (body) => sign('sha256', utf8(body), key).toString('base64'),
  }
}

/** Whether the key of this authority signed the text. */
export function isSignedText(text: string, signature: string, authority: Certificate): boolean {
  return verify('sha256', utf8(text), authority.x509.publicKey, Buffer.from(signature, 'base64'))
}

function subjectOf(
  environment: EnvironmentName,
  role: Role,
  key: KeyObject,
  now: Instant,
  lifetime: Millis,
  addresses: readonly string[] = [],
): Subject {
  return {
    environment,
    role,
    key,
    notBefore: later(now, -backdate as Millis),
    notAfter: later(now, lifetime),
    serial: randomBytes(16),
    addresses,
  }
}

function keyOf(pem: string, path: string, passphrase: string | undefined): KeyObject {
  const locked = pem.includes('ENCRYPTED')
  if (locked && passphrase === undefined)
    throw new DroverError('AUTHORITY_LOCKED', `${path} has a passphrase`)
  try {
    return createPrivateKey({ key: pem, ...(locked ? { passphrase } : {}) })
  } catch (cause) {
    if (locked) throw new DroverError('AUTHORITY_LOCKED', `${path}: the passphrase is not right`, { cause })
    throw damaged(path, reasonOf(cause), cause)
  }
}

function writtenOf(text: string, path: string): Written {
  let json: Partial<Written> | null
  try {
    json = JSON.parse(text) as Partial<Written> | null
  } catch (cause) {
    throw damaged(path, 'it is cut off', cause)
  }
  const { environment, certificate, key } = json ?? {}
  if (
    typeof environment?.name !== 'string' ||
    typeof environment.uuid !== 'string' ||
    typeof certificate !== 'string' ||
    typeof key !== 'string'
  )
    throw damaged(path, 'its content is not what was written')
  return { environment, certificate, key }
}
