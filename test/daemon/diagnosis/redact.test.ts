/**
 * No secret leaves the machine in a report: known ones by value, others by their shape.
 */
import { test } from 'tap'
import { redacted } from '../../../daemon/diagnosis/redact.ts'

const key = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk='

test('what is known is taken out wherever it is', (t) => {
  const hex = Buffer.from(key, 'base64').toString('hex')
  const text = `a ${key} b\nprivate ${hex}\n"${key}"`
  const clean = redacted(text, [key, hex])
  t.notMatch(clean, key)
  t.notMatch(clean, hex)
  t.match(clean, /a \(removed\) b/)
  t.equal(redacted('the user is bob', ['bob']), 'the user is bob', 'a word is no secret')
  t.notMatch(redacted('hunter2 hunter22', ['hunter2', 'hunter22']), /hunter/)
  t.end()
})

test('what looks like one is taken out', (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['password: hunter2', 'hunter2'],
    ['{"password":"hun\\"ter2","user":"root"}', 'ter2'],
    ['"passphrase": "open sesame"', 'sesame'],
    ['DROVER_STORE_PASSWORD=hunter2', 'hunter2'],
    ['--ca-passphrase=hunter2', 'hunter2'],
    ['private_key=0f0e0d', '0f0e0d'],
    [`PrivateKey = ${key}`, key],
    [`preshared_key=${key}`, key],
    ['etcd://root:hunter2@192.0.2.1:2379', 'hunter2'],
    ['http_proxy=http://me:hunter2@proxy:3128/', 'hunter2'],
    ['Authorization: Bearer', 'Bearer'],
    ['drover join drover-token-eyJhIjoxfQ.c2VjcmV0', 'c2VjcmV0'],
    ['-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----', 'MC4CAQ'],
    ['-----BEGIN RSA PRIVATE KEY-----\\nMC4CAQ\\n-----END RSA PRIVATE KEY-----', 'MC4CAQ'],
    ['-----BEGIN ENCRYPTED PRIVATE KEY-----\nMC4CAQ, cut off', 'MC4CAQ'],
  ]
  for (const [text, secret] of cases) t.notMatch(redacted(text, []), secret, text)
  t.match(redacted('{"password":"x1","user":"root"}', []), /"user":"root"/, 'and nothing beside it')
  t.end()
})

test('what is public stays', (t) => {
  const text = `public key ${key}, 10.42.0.1, -----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----, "password": null`
  t.equal(redacted(text, []), text)
  t.end()
})
