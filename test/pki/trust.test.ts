/**
 * Certificates: what the environment's CA issues is good, also in the eyes of OpenSSL; every way in which one can
 * be bad has its code, and each code a line with the way out.
 */
import { execFileSync, spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { DroverError } from '../../model/errors.ts'
import { instant, later, minutes } from '../../model/time.ts'
import type { Uuid } from '../../model/uuid.ts'
import { authorityFile, isSignedText, loadAuthority, loadOrCreateAuthority } from '../../pki/authority.ts'
import { type Certificate, makeCertificate } from '../../pki/certificate.ts'
import { loadOrCreateIdentity } from '../../pki/identity.ts'
import { judge, renewalOf, type Trust } from '../../pki/trust.ts'
import { readTrustFile, trustOf, writeTrustFile } from '../../pki/trust-file.ts'

const environment = { name: 'default', uuid: '00000000-0000-5000-8000-00000000e001' as Uuid }
const now = instant(Date.UTC(2026, 5, 1))
const hour = minutes(60)
const day = minutes(24 * 60)

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'dt-trust-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function caIn(t: Test, name = environment) {
  const folder = folderOf(t)
  return loadOrCreateAuthority(folder, { environment: name, passphrase: undefined, now })
}

const trusting = (...authorities: Certificate[]): Trust => ({
  environment: environment.uuid,
  authorities,
  revoked: new Set(),
})

test('what the CA issues is good, and OpenSSL agrees', (t) => {
  const [ca, folder] = [caIn(t), folderOf(t)]
  const host = loadOrCreateIdentity(folder)
  const issued = ca.issueHost(host.id, host.signingKey, now)
  const trust = trusting(ca.certificate)
  const claimed = { role: { is: 'host', host: host.id }, signingKey: host.signingKey } as const
  t.equal(judge(issued.pem, claimed, trust, now).is, 'good')
  t.equal(ca.certificate.x509.publicKey.asymmetricKeyDetails?.modulusLength, 3072)
  t.equal(renewalOf(issued) - now, 20 * day - 40 * 60_000, 'two thirds of 30 days and the two hours before')
  const join = ca.issueJoin(['127.0.0.1'], now)
  t.equal(judge(join.cert, { role: { is: 'join' } }, trust, now).is, 'good')
  writeFileSync(`${folder}/ca.pem`, ca.certificate.pem)
  writeFileSync(`${folder}/host.pem`, issued.pem)
  writeFileSync(`${folder}/join.pem`, join.cert)
  const verify = (name: string, purpose: string): string =>
    execFileSync(
      'openssl',
      [
        ...['verify', '-x509_strict', '-purpose', purpose, '-attime', String(now / 1000)],
        ...['-CAfile', `${folder}/ca.pem`, `${folder}/${name}`],
      ],
      { encoding: 'utf8' },
    )
  t.match(verify('host.pem', 'sslclient'), /OK/)
  t.match(verify('join.pem', 'sslserver'), /OK/)
  t.throws(() => verify('host.pem', 'sslserver'), 'a host cannot pass for a server')
  t.ok(isSignedText('text', ca.sign('text'), ca.certificate))
  t.notOk(isSignedText('texT', ca.sign('text'), ca.certificate))
  t.end()
})

test('every bad certificate has its code', (t) => {
  const [ca, other] = [caIn(t), caIn(t)]
  const host = loadOrCreateIdentity(folderOf(t))
  const claimed = { role: { is: 'host', host: host.id }, signingKey: host.signingKey } as const
  const issued = ca.issueHost(host.id, host.signingKey, now)
  const trust = trusting(ca.certificate)
  const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const selfSigned = makeCertificate(
    {
      environment,
      role: claimed.role,
      key: stranger.publicKey,
      notBefore: now,
      notAfter: later(now, day),
      serial: new Uint8Array(16),
    },
    { certificate: undefined, key: stranger.privateKey },
  )
  const someone = '11111111-2222-3333-4444-555555555555'
  const elsewhere = caIn(t, { ...environment, uuid: someone as Uuid })
  const revoked = { ...trust, revoked: new Set([host.id]) }
  const both = trusting(ca.certificate, elsewhere.certificate)
  const cases = {
    expired: [issued.pem, later(now, minutes(31 * 24 * 60)), trust, 'CERTIFICATE_EXPIRED'],
    'not yet valid': [issued.pem, instant(now - 3 * hour), trust, 'CERTIFICATE_NOT_YET_VALID'],
    'self-signed': [selfSigned.pem, now, trust, 'CERTIFICATE_SELF_SIGNED'],
    'wrong CA': [other.issueHost(host.id, host.signingKey, now).pem, now, trust, 'CERTIFICATE_WRONG_CA'],
    'wrong host': [ca.issueHost(someone, host.signingKey, now).pem, now, trust, 'CERTIFICATE_WRONG_NAME'],
    'wrong environment': [
      elsewhere.issueHost(host.id, host.signingKey, now).pem,
      now,
      both,
      'CERTIFICATE_WRONG_NAME',
    ],
    'wrong key': [
      ca.issueHost(host.id, loadOrCreateIdentity(folderOf(t)).signingKey, now).pem,
      now,
      trust,
      'CERTIFICATE_WRONG_NAME',
    ],
    'wrong role': [ca.issueJoin(['127.0.0.1'], now).cert, now, trust, 'CERTIFICATE_WRONG_NAME'],
    'the CA itself': [ca.certificate.pem, now, trust, 'CERTIFICATE_WRONG_NAME'],
    revoked: [issued.pem, now, revoked, 'CERTIFICATE_REVOKED'],
    truncated: [issued.pem.slice(0, 500), now, trust, 'CERTIFICATE_DAMAGED'],
    'truncated inside': [issued.pem.replace(/\n.{64}\n/, '\n'), now, trust, 'CERTIFICATE_DAMAGED'],
    empty: ['', now, trust, 'CERTIFICATE_DAMAGED'],
  } as const
  for (const [what, [pem, at, whom, code]] of Object.entries(cases)) {
    const judgement = judge(pem, claimed, whom, at)
    t.match(judgement, { is: 'bad', code }, what)
    if (judgement.is === 'bad') {
      const { line } = new DroverError(judgement.code, judgement.why)
      t.comment(line)
      t.notMatch(line, /\n/, 'one line')
      t.match(line, /; (check|set|enter|restore|to let)/, 'with the way out')
    }
  }
  t.end()
})

test('no altered certificate passes', (t) => {
  const ca = caIn(t)
  const host = loadOrCreateIdentity(folderOf(t))
  const claimed = { role: { is: 'host', host: host.id }, signingKey: host.signingKey } as const
  const der = ca.issueHost(host.id, host.signingKey, now).x509.raw
  const trust = trusting(ca.certificate)
  const passed = Array.from(der, (_, at) => {
    const copy = Buffer.from(der)
    copy[at] = (copy[at] ?? 0) ^ 1
    const pem = `-----BEGIN CERTIFICATE-----\n${copy.toString('base64')}\n-----END CERTIFICATE-----\n`
    return judge(pem, claimed, trust, now).is === 'good'
  })
  t.notOk(passed.includes(true))
  t.end()
})

test('a clock that is an hour wrong changes nothing', (t) => {
  const host = loadOrCreateIdentity(folderOf(t))
  const claimed = { role: { is: 'host', host: host.id }, signingKey: host.signingKey } as const
  const ca = caIn(t)
  for (const wrong of [-hour, hour]) {
    const issued = ca.issueHost(host.id, host.signingKey, instant(now + wrong))
    t.equal(judge(issued.pem, claimed, trusting(ca.certificate), now).is, 'good')
  }
  t.end()
})

test('the key of the CA: private, whole, and behind a passphrase where one is given', (t) => {
  const folder = folderOf(t)
  t.equal(loadAuthority(folder, undefined), undefined)
  const made = loadOrCreateAuthority(folder, { environment, passphrase: 'open sesame', now })
  const path = authorityFile(folder)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.match(readFileSync(path, 'utf8'), 'ENCRYPTED')
  t.equal(loadAuthority(folder, 'open sesame')?.certificate.fingerprint, made.certificate.fingerprint)
  t.throws(() => loadAuthority(folder, undefined), { code: 'AUTHORITY_LOCKED' })
  t.throws(() => loadAuthority(folder, 'wrong'), { code: 'AUTHORITY_LOCKED' })
  const whole = readFileSync(path, 'utf8')
  const foreign = readFileSync(authorityFile(folderWith(t)), 'utf8')
  const mixed = JSON.stringify({ ...JSON.parse(whole), key: JSON.parse(foreign).key })
  for (const text of ['', '{}', 'null', whole.slice(0, 900), mixed]) {
    writeFileSync(path, text)
    t.throws(
      () => loadOrCreateAuthority(folder, { environment, passphrase: undefined, now }),
      { code: 'AUTHORITY_DAMAGED' },
      text.slice(0, 20),
    )
  }
  t.end()
})

function folderWith(t: Test): string {
  const folder = folderOf(t)
  loadOrCreateAuthority(folder, { environment, passphrase: undefined, now })
  return folder
}

test('kill -9 while the CA is made leaves none or the whole', async (t) => {
  const module = join(import.meta.dirname, '../../pki/authority.ts')
  const code = `import { loadOrCreateAuthority } from ${JSON.stringify(module)}
    process.stdout.write('!')
    loadOrCreateAuthority(process.argv[1], { environment: ${JSON.stringify(environment)}, now: ${now} })`
  for (const wait of [50, 300, 600]) {
    const folder = folderOf(t)
    const child = spawn(process.execPath, ['--input-type=module', '-e', code, folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const exited = once(child, 'exit')
    await once(child.stdout, 'data')
    await new Promise((resolve) => setTimeout(resolve, wait))
    child.kill('SIGKILL')
    await exited
    const before = loadAuthority(folder, undefined)
    const after = loadOrCreateAuthority(folder, { environment, passphrase: undefined, now })
    if (before !== undefined) t.equal(after.certificate.fingerprint, before.certificate.fingerprint)
    t.strictSame(
      readdirSync(folder).filter((name) => !name.endsWith('.new')),
      ['authority.json'],
    )
  }
})

test('the trust file is replaced whole or not at all', (t) => {
  const folder = folderOf(t)
  const ca = caIn(t)
  const file = {
    environment: environment.uuid,
    certificate: ca.certificate.pem,
    authorities: [ca.certificate.pem],
    cross: null,
    succession: 0,
    sealed: '',
    revoked: ['x'],
    listed: 3,
  }
  t.equal(readTrustFile(folder), undefined)
  writeTrustFile(folder, file)
  t.strictSame(readTrustFile(folder), file)
  t.ok(trustOf(file).revoked.has('x'))
  t.equal(statSync(join(folder, 'trust.json')).mode & 0o777, 0o600)
  writeFileSync(join(folder, 'trust.json'), readFileSync(join(folder, 'trust.json'), 'utf8').slice(0, 300))
  t.throws(() => readTrustFile(folder), { code: 'CERTIFICATE_DAMAGED', message: /trust\.json/ })
  t.end()
})

const needsRoot = process.getuid?.() === 0 ? {} : { skip: 'needs root to mount a small disk' }

test('a full disk while renewing leaves the old certificate', needsRoot, (t) => {
  const file = { environment: environment.uuid, certificate: 'x', authorities: [], revoked: [], listed: 3 }
  const disk = folderOf(t)
  const script = `
    import { readTrustFile, writeTrustFile } from ${JSON.stringify(join(import.meta.dirname, '../../pki/trust-file.ts'))}
    const [folder, text] = process.argv.slice(1)
    const file = JSON.parse(text)
    writeTrustFile(folder, file)
    try { writeTrustFile(folder, { ...file, revoked: Array(2000).fill('x'.repeat(20)) }) } catch (e) { console.log(e.code) }
    console.log(readTrustFile(folder).listed)`
  const out = execFileSync(
    'unshare',
    [
      '-m',
      'sh',
      '-c',
      `mount -t tmpfs -o size=16k none '${disk}' && exec '${process.execPath}' --input-type=module -e "$0" '${disk}' "$1"`,
      script,
      JSON.stringify(file),
    ],
    { encoding: 'utf8' },
  )
  t.equal(out, 'DISK_FULL\n3\n')
  t.end()
})
