/**
 * What others do in the store beside the records: lists, settings, tokens and certificates that are forged or old, and
 * what was taken out. What a store shows that was restored is nobody's attempt.
 */
import { type Test, test } from 'tap'
import { Tampering } from '../../../daemon/trust/tampering.ts'
import { TrustKeeper } from '../../../daemon/trust/trust-keeper.ts'
import { utf8 } from '../../../model/bytes.ts'
import type { Environment } from '../../../model/environment.ts'
import { loadOrCreateIdentity } from '../../../pki/identity.ts'
import { sealRemoved } from '../../../pki/removed.ts'
import { listOf, sealAuthorities } from '../../../pki/succession.ts'
import { writeTrustFile } from '../../../pki/trust-file.ts'
import type { Entry, Update } from '../../../store/store.ts'
import { authorityFor, began, folderOf, keys, Member } from '../../support/members.ts'
import { environment, host, settings } from '../../support/records.ts'

function worldOf(t: Test) {
  const { ca } = authorityFor(t)
  const folder = folderOf(t)
  const identity = loadOrCreateIdentity(folder)
  const { id: self, signingKey } = identity
  const certificate = ca.issueHost(self, signingKey, began).pem
  const authorities = [ca.certificate.pem]
  writeTrustFile(folder, { environment: settings.uuid, certificate, authorities, revoked: [], listed: 0 })
  const keeper = TrustKeeper.open(folder, identity, began)
  const [member, evil] = [new Member(t, 'h2', ca), new Member(t, 'evil', authorityFor(t).ca)]
  const known = environment({ hosts: [host('h2', {}, member.record)] })
  const wanted = new Set<string>()
  let seen: Environment | undefined = known
  const tampering = new Tampering(
    { keeper, now: () => began, environment: () => seen, wants: (key) => wanted.has(key) },
    { keys, self, settings },
  )
  const told = (): readonly string[] =>
    tampering.attempts.map(({ who, what, times }) => `${who}|${what}|${times}`)
  return {
    ...{ ca, keeper, tampering, self, member, evil, wanted, told },
    see: (now: Environment | undefined): void => {
      seen = now
    },
    known,
    evilCa: authorityFor(t).ca,
  }
}

const entryOf = (key: string, value: Uint8Array): Entry => ({ key, value, revision: 2 })
const lists = (...entries: readonly Entry[]): Update => ({ is: 'snapshot', revision: 1, entries })
const puts = (...entries: readonly Entry[]): Update => ({
  is: 'events',
  revision: 2,
  changes: entries.map((entry) => ({ is: 'put', entry })),
})
const deletes = (...gone: readonly string[]): Update => ({
  is: 'events',
  revision: 3,
  changes: gone.map((key) => ({ is: 'delete', key, revision: 3 })),
})

test('a list of removed hosts that is forged, or older than one that was seen', (t) => {
  const { ca, evilCa, keeper, tampering, told } = worldOf(t)
  const { environment } = keeper.trust
  const listBy = (by: typeof ca, number: number) =>
    entryOf(keys.removed, sealRemoved({ environment, number, hosts: [] }, by))
  keeper.remove({ number: 5, hosts: ['somebody'] })
  tampering.observe(puts(listBy(ca, 5)))
  tampering.observe(puts(listBy(ca, 6)))
  t.strictSame(told(), [], 'the newest one, and one that is newer')
  tampering.observe(lists(listBy(ca, 4)))
  t.strictSame(told(), [], 'a store that was restored holds an old one')
  tampering.observe(puts(listBy(ca, 4)))
  t.strictSame(told(), ['|removed: older than what was seen before|1'], 'put there while this host watched')
  tampering.observe(lists(listBy(evilCa, 9)))
  tampering.observe(puts(entryOf(keys.removed, utf8('x'))))
  t.strictSame(told().slice(1), ['|removed: the CA has not signed it|1', '|removed: not a list|1'])
  t.end()
})

test('a list of authorities that is forged, or older than one that was seen', (t) => {
  const { ca, evilCa, keeper, tampering, told } = worldOf(t)
  const listBy = (by: typeof ca, number: number) =>
    sealAuthorities({ ...listOf(by, number), environment: keeper.trust.environment }, by)
  keeper.succeed(listOf(ca, 2), listBy(ca, 2))
  tampering.observe(puts(entryOf(keys.authorities, listBy(ca, 2))))
  tampering.observe(lists(entryOf(keys.authorities, listBy(ca, 1))))
  t.strictSame(told(), [])
  tampering.observe(puts(entryOf(keys.authorities, listBy(ca, 1))))
  tampering.observe(puts(entryOf(keys.authorities, listBy(evilCa, 9))))
  t.match(told(), [/authorities: older than what was seen/, /authorities: no authority of this environment/])
  t.end()
})

test('what was taken out, if it was there and is wanted', (t) => {
  const { keeper, tampering, self, member, wanted, told } = worldOf(t)
  const own = keys.host(self)
  tampering.observe(deletes(own, keys.removed, keys.authorities, keys.host(member.id), keys.alive(self)))
  t.strictSame(told(), [], 'not wanted, never there, somebody else’s, or ended by its lease')
  wanted.add(own)
  keeper.remove({ number: 1, hosts: ['somebody'] })
  tampering.observe(deletes(own, keys.head(self), keys.removed, keys.settings))
  tampering.takenOut(keys.alive(self))
  t.strictSame(
    told(),
    ['host', 'head', 'removed', 'settings', 'alive'].map(
      (what) => `|${what}: it was taken out of the store|1`,
    ),
  )
  keeper.remove({ number: 2, hosts: [self] })
  tampering.observe(deletes(own, keys.settings))
  tampering.takenOut(keys.alive(self))
  t.equal(told().length, 5)
  t.ok(
    told().every((line) => line.endsWith('|1')),
    'who was removed has nothing to stand there',
  )
  t.end()
})

test('settings of another environment, and tokens that no member has signed', (t) => {
  const { tampering, member, evil, told } = worldOf(t)
  const token = keys.token('0123456789abcdef')
  const good = [member.sealed(keys.settings, settings), member.sealed(token, { id: 'x' })]
  tampering.observe(puts(...good))
  t.strictSame(told(), [])
  const altered = member.sealed(token, { id: 'x' })
  tampering.observe(
    puts(
      evil.sealed(keys.settings, { ...settings, domain: 'evil.internal' }),
      entryOf(keys.settings, utf8('x')),
      evil.sealed(token, { id: 'x' }),
      entryOf(token, Buffer.from(Buffer.from(altered.value).toString().replace('\\"x\\"', '\\"y\\"'))),
      evil.sealed(keys.promotion(member.id), {}),
    ),
  )
  t.match(told(), [
    `${evil.id}|settings: not what this environment was made with|1`,
    /^\|settings: /,
    `${evil.id}|token: not signed by a member|1`,
    `${member.id}|token: signature does not verify|1`,
    `${evil.id}|promotion: not signed by a member|1`,
  ])
  t.end()
})

test('who signed a token is judged once the members are known', (t) => {
  const { tampering, member, evil, told, see, known } = worldOf(t)
  const [token, other] = [keys.token('0123456789abcdef'), keys.token('fedcba9876543210')]
  see(undefined)
  tampering.observe(lists(evil.sealed(other, {})))
  tampering.observe(lists(member.sealed(token, {}), evil.sealed(token, {})))
  t.strictSame(told(), [])
  see(known)
  tampering.again()
  tampering.again()
  t.strictSame(told(), [`${evil.id}|token: not signed by a member|1`], 'of the newest listing, and once')
  t.end()
})

test('a certificate that was put there for a host', (t) => {
  const { ca, evilCa, tampering, member, evil, told } = worldOf(t)
  const by = (authority: typeof ca, signingKey: string) =>
    entryOf(keys.certificate(member.id), utf8(authority.issueHost(member.id, signingKey, began).pem))
  tampering.observe(puts(by(ca, member.record.signingKey)))
  tampering.observe(lists(by(evilCa, evil.record.signingKey)))
  t.strictSame(told(), [], 'an older one of a former CA may lie there for long')
  tampering.observe(puts(by(evilCa, evil.record.signingKey)))
  t.match(told(), [/^\|certificate: its issuer is/])
  tampering.observe({ is: 'stale' })
  t.equal(told().length, 1)
  t.end()
})
