/** Envelopes: what is sealed opens, nothing else does; counters never go back. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { utf8, utf8Text } from '../../model/bytes.ts'
import { hostIdOf, openEnvelope, sealRecord, verifyEnvelope } from '../../pki/envelope.ts'
import { loadOrCreateIdentity } from '../../pki/identity.ts'
import { EnvelopeSealer } from '../../pki/sealer.ts'
import { SqliteLedger } from '../../store/ledger.ts'
import { MemoryLedger, SeededRandom } from '../support/ports.ts'

function makeIdentity(t: Test) {
  const folder = mkdtempSync(join(tmpdir(), 'dt-envelope-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return { folder, identity: loadOrCreateIdentity(folder) }
}

function opened(bytes: Uint8Array) {
  const result = openEnvelope(bytes)
  if (result.is === 'bad') throw new Error(result.why)
  return result.value
}

const key = '/drover/v1/default/hosts/x'

test('what is sealed opens', (t) => {
  const { identity } = makeIdentity(t)
  const bytes = sealRecord(identity, key, { address: 0x0a2a0001, name: 'Grüße "\n' }, 7)
  const envelope = opened(bytes)
  t.equal(envelope.body, '{"address":"10.42.0.1","name":"Grüße \\"\\n"}')
  t.equal(envelope.counter, 7)
  t.equal(envelope.key, identity.id)
  t.equal(hostIdOf(identity.signingKey), identity.id)
  t.ok(verifyEnvelope(envelope, key, identity.signingKey))
  t.notOk(verifyEnvelope(envelope, `${key}y`, identity.signingKey), 'not for another key')
  t.notOk(verifyEnvelope({ ...envelope, counter: 8 }, key, identity.signingKey))
  t.notOk(verifyEnvelope({ ...envelope, body: '{}' }, key, identity.signingKey))
  const other = makeIdentity(t).identity
  t.notOk(verifyEnvelope(envelope, key, other.signingKey), 'not by another host')
  t.notOk(verifyEnvelope({ ...envelope, key: other.id }, key, identity.signingKey))
  t.notOk(verifyEnvelope({ ...envelope, key: other.id }, key, other.signingKey))
  t.notOk(verifyEnvelope(envelope, key, 'garbage'))
  const shifted = opened(sealRecord(identity, '/a\n/b', { c: 1 }, 7))
  t.notOk(verifyEnvelope({ ...shifted, body: `/b\n${shifted.body}` }, '/a', identity.signingKey))
  t.end()
})

test('nothing else opens', (t) => {
  const { identity } = makeIdentity(t)
  const bytes = sealRecord(identity, key, { address: 0x0a2a0001, list: [1, 2] }, 120)
  const accepted = (candidate: Uint8Array): boolean => {
    const result = openEnvelope(candidate)
    return result.is === 'ok' && verifyEnvelope(result.value, key, identity.signingKey)
  }
  t.ok(accepted(bytes))
  const truncated = Array.from(bytes, (_, length) => accepted(bytes.slice(0, length)))
  t.notOk(truncated.includes(true), 'truncated')
  const random = new SeededRandom(1)
  const altered = Array.from(bytes, (byte, at) => {
    const copy = bytes.slice()
    copy[at] = byte ^ (1 + random.below(255))
    return accepted(copy)
  })
  t.notOk(altered.includes(true), 'one byte altered')
  for (let round = 0; round < 2000; round++) {
    if (openEnvelope(random.bytes(random.below(200))).is === 'ok') t.fail('random bytes')
  }
  const text = utf8Text(bytes) ?? ''
  const variants = [
    '',
    'null',
    '[]',
    '"text"',
    '{}',
    ` ${text}`,
    text.replace('"counter":120', '"counter":1.2e2'),
    text.replace('"counter":120', '"counter":-1'),
    text.replace('"counter":120', '"counter":"120"'),
    text.replace('}', ',"more":1}'),
    text.replace('{"body"', '{"body":"x","body"'),
    text.replace('10.42', '10\\u002e42'),
  ]
  for (const variant of variants) t.equal(openEnvelope(utf8(variant)).is, 'bad', variant.slice(0, 40))
  t.strictSame(openEnvelope(new Uint8Array(1024 * 1024 + 1).fill(0x20)), { is: 'bad', why: 'too large' })
  t.end()
})

test('the counter of a host never goes back', (t) => {
  const { folder, identity } = makeIdentity(t)
  const path = join(folder, 'ledger.sqlite')
  let last = 0
  for (let round = 0; round < 3; round++) {
    const ledger = new SqliteLedger({ path }) // reopened without a word, as after kill -9
    const sealer = new EnvelopeSealer({ identity, ledger })
    for (let at = 0; at < 1500; at++) {
      const { counter } = opened(sealer.seal(key, {}))
      if (counter <= last) t.fail(`${counter} after ${last}`)
      last = counter
    }
    ledger.close()
  }
  t.ok(last < 10_000)
  const damaged = new MemoryLedger([['sealed', 'x']])
  t.throws(() => new EnvelopeSealer({ identity, ledger: damaged }), { code: 'STORE_CORRUPT' })
  t.end()
})

test('a thousand records are sealed, and said how fast', (t) => {
  const { folder, identity } = makeIdentity(t)
  const ledger = new SqliteLedger({ path: join(folder, 'ledger.sqlite') })
  const sealer = new EnvelopeSealer({ identity, ledger })
  const body = {
    labels: Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`label.${at}`, 'x'.repeat(40)])),
  }
  const began = performance.now()
  const sealed = Array.from({ length: 1000 }, () => sealer.seal(key, body))
  const took = performance.now() - began
  const verified = sealed.every((bytes) => verifyEnvelope(opened(bytes), key, identity.signingKey))
  t.comment(
    `1000 sealed in ${Math.round(took)} ms, verified in ${Math.round(performance.now() - began - took)} ms`,
  )
  t.ok(verified)
  ledger.close()
  t.end()
})
