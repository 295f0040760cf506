/**
 * The environment's CA: an RSA key of 3072 bits and its certificate in one file of mode 0600, whole or absent.
 * The key may be encrypted with a passphrase; then the file can be looked at without it, but nothing signed.
 * While one CA takes the place of another, the file holds both: the new one issues, the former still vouches.
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
import { type Damaged, readPrivate, replacePrivate, sweepDrafts, writeOnce } from './private-file.ts'
import { authorityLifetime, backdate, hostLifetime, serverLifetime } from './trust.ts'

export interface EnvironmentName {
  readonly name: string
  readonly uuid: Uuid
}

export interface Authority {
  readonly environment: EnvironmentName
  readonly certificate: Certificate
  /** The one in whose place it came, while that still counts. */
  readonly former: Former | undefined
  /** A certificate for a host's signing key. */
  issueHost(host: string, signingKey: string, now: Instant): Certificate
  /** Key and certificate of a join endpoint at these addresses, both PEM. */
  issueJoin(addresses: readonly string[], now: Instant): { readonly key: string; readonly cert: string }
  /** The same for a member of an etcd, for a year: nobody renews it by itself. */
  issueServer(addresses: readonly string[], now: Instant): { readonly key: string; readonly cert: string }
  sign(text: string): string
}

export interface Former {
  readonly certificate: Certificate
  /** The new authority as the former one vouches for it: for those who know only the former (RFC 4210 section 4.4). */
  readonly cross: Certificate
  sign(text: string): string
}

interface Pair {
  readonly certificate: string
  readonly key: string
}

interface Written extends Pair {
  readonly environment: EnvironmentName
  readonly former?: Pair & { readonly cross: string }
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
  if (standing !== undefined) {
    sweepDrafts(authorityFile(folder), damaged)
    return standing
  }
  const { environment } = options
  const { pair } = madePair(options)
  const written: Written = { environment, ...pair }
  writeOnce(authorityFile(folder), textOf(written), damaged)
  const made = loadAuthority(folder, options.passphrase)
  if (made === undefined) throw damaged(authorityFile(folder), 'it was removed while it was made')
  return made
}

/** Makes a new CA, for which the present one vouches; both are in the file at once, or only the present one. */
export function rollAuthority(folder: string, options: Omit<AuthorityOptions, 'environment'>): Authority {
  const present = loadAuthority(folder, options.passphrase)
  if (present === undefined) throw new DroverError('AUTHORITY_ELSEWHERE', authorityFile(folder))
  if (present.former !== undefined) throw new DroverError('AUTHORITY_ROLLING', authorityFile(folder))
  const { certificate, key } = writtenOf(textIn(folder), authorityFile(folder))
  const { environment } = present
  const { pair, publicKey, made } = madePair({ ...options, environment })
  const lifetime = (present.certificate.notAfter - options.now) as Millis
  const subject = {
    ...subjectOf(environment, { is: 'authority' }, publicKey, options.now, lifetime),
    namedAs: made,
  }
  const issuer = {
    certificate: present.certificate,
    key: keyOf(key, authorityFile(folder), options.passphrase),
  }
  const cross = makeCertificate(subject, issuer).pem
  const written: Written = { environment, ...pair, former: { certificate, key, cross } }
  replacePrivate(authorityFile(folder), textOf(written), damaged)
  return authorityOf(textIn(folder), authorityFile(folder), options.passphrase)
}

/** Forgets the key of the former CA. */
export function dropFormer(folder: string, passphrase: string | undefined): Authority {
  const { environment, certificate, key } = writtenOf(textIn(folder), authorityFile(folder))
  replacePrivate(authorityFile(folder), textOf({ environment, certificate, key }), damaged)
  return authorityOf(textIn(folder), authorityFile(folder), passphrase)
}

function madePair({ environment, passphrase, now }: AuthorityOptions) {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 3072 })
  const subject = subjectOf(environment, { is: 'authority' }, publicKey, now, authorityLifetime)
  const made = makeCertificate(subject, { certificate: undefined, key: privateKey })
  const key = privateKey.export({
    format: 'pem',
    type: 'pkcs8',
    ...(passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase }),
  })
  return { made, publicKey, pair: { certificate: made.pem, key: key.toString() } }
}

const textOf = (written: Written): string => `${JSON.stringify(written)}\n`

function textIn(folder: string): string {
  const text = readPrivate(authorityFile(folder), damaged)
  if (text === undefined) throw new DroverError('AUTHORITY_ELSEWHERE', authorityFile(folder))
  return text
}

/** Undefined where this host does not hold the key; AUTHORITY_LOCKED without the right passphrase. */
export function loadAuthority(folder: string, passphrase: string | undefined): Authority | undefined {
  const text = readPrivate(authorityFile(folder), damaged)
  return text === undefined ? undefined : authorityOf(text, authorityFile(folder), passphrase)
}

export interface Exported {
  /** Whether its key has a passphrase. */
  readonly encrypted: boolean
  /** Of the CA that issues now. */
  readonly fingerprint: string
}

/** Writes a backup of mode 0600 in a place where no file is; the key stays encrypted where it is. */
export function exportAuthority(folder: string, file: string): Exported {
  const text = textIn(folder)
  const { key, certificate } = writtenOf(text, authorityFile(folder))
  const authority = readCertificate(certificate)
  if (authority === undefined) throw damaged(authorityFile(folder), 'its certificate cannot be read')
  try {
    writeFileSync(file, text, { mode: 0o600, flag: 'wx', flush: true })
  } catch (cause) {
    throw new DroverError('STATE_UNUSABLE', `${file}: ${reasonOf(cause)}`, { cause })
  }
  return { encrypted: key.includes('ENCRYPTED'), fingerprint: authority.fingerprint }
}

export interface ImportOptions {
  readonly passphrase: string | undefined
  /** Whether it is the CA that belongs here. */
  readonly accepts: (authority: Authority) => boolean
}

/** Takes a backup, if its key can be opened and it is the right one; in the place of what is there. */
export function importAuthority(folder: string, text: string, options: ImportOptions): Authority {
  const authority = authorityOf(text, 'the backup', options.passphrase)
  if (!options.accepts(authority))
    throw damaged('the backup', 'it is of another environment, or of another CA')
  replacePrivate(authorityFile(folder), text, damaged)
  return authority
}

/** The whole file, for another host that is to hold the CA as well; its keys are encrypted where they are here. */
export const authorityText = (folder: string): string => textIn(folder)

/** For a machine that turned out not to be the first, or entered another environment. */
export const removeAuthority = (folder: string): void => rmSync(authorityFile(folder), { force: true })

function authorityOf(text: string, path: string, passphrase: string | undefined): Authority {
  const written = writtenOf(text, path)
  const { environment, former } = written
  const { certificate, key } = openedPair(written, path, passphrase)
  const issue = (subject: Subject) => makeCertificate(subject, { certificate, key })
  const server = (role: Role, addresses: readonly string[], now: Instant, lifetime: Millis) => {
    const pair = generateKeyPairSync('ed25519')
    const leaf = issue(subjectOf(environment, role, pair.publicKey, now, lifetime, addresses))
    const exported = pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
    // Who joins knows the newest CA by its fingerprint; who talks to an etcd may know the former one only.
    const above = role.is === 'join' ? certificate.pem : (former?.cross ?? certificate.pem)
    return { key: exported, cert: leaf.pem + above }
  }
  return {
    environment,
    certificate,
    former: former === undefined ? undefined : formerOf(former, path, passphrase),
    issueHost: (host, signingKey, now) =>
      issue(subjectOf(environment, { is: 'host', host }, ed25519Key(signingKey), now, hostLifetime)),
    issueJoin: (addresses, now) => server({ is: 'join' }, addresses, now, hostLifetime),
    issueServer: (addresses, now) => server({ is: 'server' }, addresses, now, serverLifetime),
    sign: (body) => signedBy(key, body),
  }
}

function formerOf(
  former: NonNullable<Written['former']>,
  path: string,
  passphrase: string | undefined,
): Former {
  const { certificate, key } = openedPair(former, path, passphrase)
  const cross = readCertificate(former.cross)
  if (cross === undefined) throw damaged(path, 'the certificate by the former CA cannot be read')
  return { certificate, cross, sign: (body) => signedBy(key, body) }
}

function openedPair(pair: Pair, path: string, passphrase: string | undefined) {
  const certificate = readCertificate(pair.certificate)
  if (certificate === undefined) throw damaged(path, 'its certificate cannot be read')
  const key = keyOf(pair.key, path, passphrase)
  if (!certificate.x509.checkPrivateKey(key)) throw damaged(path, 'its key is not that of its certificate')
  return { certificate, key }
}

const signedBy = (key: KeyObject, body: string): string => sign('sha256', utf8(body), key).toString('base64')

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
  const { environment, former } = json ?? {}
  if (
    typeof environment?.name !== 'string' ||
    typeof environment.uuid !== 'string' ||
    !isPair(json) ||
    (former !== undefined && !(isPair(former) && typeof former.cross === 'string'))
  )
    throw damaged(path, 'its content is not what was written')
  const { certificate, key } = json
  return { environment, certificate, key, ...(former === undefined ? {} : { former }) }
}

const isPair = <T extends Partial<Pair>>(json: T | null): json is T & Pair =>
  typeof json?.certificate === 'string' && typeof json.key === 'string'
