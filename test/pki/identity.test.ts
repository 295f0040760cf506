/** Identity files: made once, whole or absent, private, and refused by name when damaged. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sodium from 'libsodium-wrappers'
import { type Test, test } from 'tap'
import { hostIdField } from '../../model/records.ts'
import { loadIdentity, loadOrCreateIdentity } from '../../pki/identity.ts'

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'dt-identity-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('an identity is made once', (t) => {
  const folder = join(folderOf(t), 'a/b')
  t.equal(loadIdentity(folder), undefined)
  t.throws(() => statSync(folder), 'looking makes nothing')
  const made = loadOrCreateIdentity(folder)
  const again = loadOrCreateIdentity(folder)
  t.equal(again.id, made.id)
  t.equal(again.signingKey, made.signingKey)
  t.equal(again.wireguardKey, made.wireguardKey)
  t.equal(again.wireguardPrivate, made.wireguardPrivate)
  t.equal(statSync(folder).mode & 0o777, 0o700)
  t.equal(statSync(join(folder, 'identity.json')).mode & 0o777, 0o600)
  t.strictSame(readdirSync(folder), ['identity.json'])
  t.ok(hostIdField.safeParse(made.id).success)
  const digest = createHash('sha256').update(Buffer.from(made.signingKey, 'base64')).digest('hex')
  t.equal(made.id.replaceAll('-', ''), digest.slice(0, 32))
  t.equal(made.sign(new Uint8Array([1, 2, 3])).length, 64)
  t.not(loadOrCreateIdentity(folderOf(t)).id, made.id)
  t.end()
})

test('keys are derived as the standards say', async (t) => {
  const folder = folderOf(t)
  // RFC 8032 section 7.1, test 1
  const signing = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex')
  const made = loadOrCreateIdentity(folder)
  const text = JSON.stringify({ signing: signing.toString('base64'), wireguard: made.wireguardPrivate })
  writeFileSync(join(folder, 'identity.json'), text)
  const identity = loadOrCreateIdentity(folder)
  t.equal(
    Buffer.from(identity.signingKey, 'base64').toString('hex'),
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
  )
  t.equal(
    Buffer.from(identity.sign(new Uint8Array())).toString('hex'),
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  )
  await sodium.ready
  const scalar = Buffer.from(identity.wireguardPrivate, 'base64')
  t.equal(identity.wireguardKey, Buffer.from(sodium.crypto_scalarmult_base(scalar)).toString('base64'))
  t.equal((scalar[0] ?? 0) & 7, 0, 'clamped')
  t.equal((scalar[31] ?? 0) & 192, 64, 'clamped')
})

test('a damaged file is refused by name', (t) => {
  const folder = folderOf(t)
  const path = join(folder, 'identity.json')
  loadOrCreateIdentity(folder)
  const whole = readFileSync(path, 'utf8')
  const refused = (what: string) => {
    const expected = { code: 'IDENTITY_DAMAGED', culprit: 'operator', message: new RegExp(path) }
    t.throws(() => loadOrCreateIdentity(folder), expected, what)
  }
  for (const text of [
    '',
    'null',
    '[]',
    'garbage',
    '{}',
    whole.slice(0, 40),
    whole.replace('signing', 'sign'),
  ]) {
    writeFileSync(path, text)
    refused(JSON.stringify(text.slice(0, 10)))
  }
  rmSync(path)
  mkdirSync(path)
  refused('a folder')
  rmSync(path, { recursive: true })
  if (process.getuid?.() !== 0) {
    writeFileSync(path, whole)
    chmodSync(path, 0)
    refused('not readable')
  }
  t.end()
})

test('kill -9 leaves nothing or all; processes that start together agree', async (t) => {
  const module = join(import.meta.dirname, '../../pki/identity.ts')
  const code = `import { loadOrCreateIdentity } from ${JSON.stringify(module)}
    process.stdout.write('!'); console.log(loadOrCreateIdentity(process.argv[1]).id)`
  const start = (folder: string) =>
    spawn(process.execPath, ['--input-type=module', '-e', code, folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  for (let round = 0; round < 4; round++) {
    const folder = folderOf(t)
    const child = start(folder)
    const exited = once(child, 'exit')
    await once(child.stdout, 'data')
    await new Promise((resolve) => setTimeout(resolve, round))
    child.kill('SIGKILL')
    await exited
    const before = loadIdentity(folder)
    const after = loadOrCreateIdentity(folder)
    if (before !== undefined) t.equal(after.id, before.id)
    t.strictSame(readdirSync(folder).filter((name) => name === 'identity.json').length, 1)
  }
  const folder = folderOf(t)
  const ids = await Promise.all(
    [1, 2, 3].map(async () => {
      const child = start(folder)
      const chunks = await child.stdout.toArray()
      return Buffer.concat(chunks).toString().trim()
    }),
  )
  t.strictSame(new Set(ids).size, 1)
  t.equal(`!${loadIdentity(folder)?.id}`, ids[0])
})
