/**
 * Tokens against a store that anybody may write to, and the door that opens with the first token and shuts with
 * the last.
 */
import { connect } from 'node:net'
import { test } from 'tap'
import { type CreatedToken, Door } from '../../../daemon/trust/door.ts'
import { Tokens } from '../../../daemon/trust/tokens.ts'
import { until } from '../../../lab/command.ts'
import { utf8Text } from '../../../model/bytes.ts'
import { keysOf } from '../../../model/keys.ts'
import type { HostId } from '../../../model/records.ts'
import { instant, minutes, parseDuration, seconds } from '../../../model/time.ts'
import { loadOrCreateAuthority } from '../../../pki/authority.ts'
import { loadOrCreateIdentity } from '../../../pki/identity.ts'
import { askToJoin } from '../../../pki/join-client.ts'
import { EnvelopeSealer } from '../../../pki/sealer.ts'
import { parseToken } from '../../../pki/token.ts'
import { judge } from '../../../pki/trust.ts'
import { MemoryStore } from '../../../store/memory.ts'
import { freePort } from '../../support/free-port.ts'
import { FakeClock, MemoryLedger, MemoryLog, MemoryMeter, SeededRandom } from '../../support/ports.ts'
import { hostId, settings } from '../../support/records.ts'

const keys = keysOf('default')
const [one, two] = [hostId('one'), hostId('two')] as [HostId, HostId]
const noon = Date.now()

function tokensIn(folder: string) {
  const clock = new FakeClock(noon)
  const store = new MemoryStore({ clock })
  const identity = loadOrCreateIdentity(folder)
  const ledger = new MemoryLedger()
  const sealer = new EnvelopeSealer({ identity, ledger })
  const random = new SeededRandom(5)
  const { signingKey } = identity
  const tokens = new Tokens({ store, ledger, sealer, clock, random }, { keys, signingKey })
  return { clock, store, identity, ledger, sealer, tokens }
}

test('times are written with their unit', (t) => {
  t.equal(parseDuration('1h'), 3_600_000)
  t.equal(parseDuration('30m'), 1_800_000)
  for (const text of ['', '1', 'h', '0h', '-1h', '1 h', '1w', '1.5h']) t.equal(parseDuration(text), undefined)
  t.end()
})

test('a token is used once, also by two hosts at the same moment', async (t) => {
  const { store, tokens, clock } = tokensIn(t.testdir())
  const { record, secret } = await tokens.create({ ttl: minutes(60), uses: 1 })
  const entries = (await store.list('')).entries.map(({ value }) => utf8Text(value)).join()
  t.notMatch(entries, secret, 'the secret is nowhere in the store')
  await t.rejects(tokens.redeem(record.id, 'wrong', one), { code: 'TOKEN_REFUSED' })
  await t.rejects(tokens.redeem('0000000000000000', secret, one), { code: 'TOKEN_REFUSED' })
  await t.rejects(tokens.redeem('../settings', secret, one), { code: 'TOKEN_REFUSED' })
  const both = await Promise.allSettled([one, two].map((host) => tokens.redeem(record.id, secret, host)))
  t.strictSame(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const winner = both[0]?.status === 'fulfilled' ? one : two
  await tokens.redeem(record.id, secret, winner)
  t.pass('the same host may ask again: it may have been killed before it had the answer')
  clock.advance(minutes(11))
  await t.rejects(tokens.redeem(record.id, secret, winner), { code: 'TOKEN_REFUSED' }, 'but not for long')
})

test('several uses, time, and an end', async (t) => {
  const { tokens, clock } = tokensIn(t.testdir())
  const twice = await tokens.create({ ttl: minutes(60), uses: 2 })
  await Promise.all([one, two].map((host) => tokens.redeem(twice.record.id, twice.secret, host)))
  await t.rejects(tokens.redeem(twice.record.id, twice.secret, hostId('three')), { code: 'TOKEN_REFUSED' })
  const brief = await tokens.create({ ttl: minutes(1), uses: 1 })
  clock.advance(minutes(1))
  await t.rejects(tokens.redeem(brief.record.id, brief.secret, one), { message: /expired/ })
  t.strictSame(
    (await tokens.list()).map(({ id }) => id),
    [twice.record.id],
  )
  const ended = await tokens.create({ ttl: minutes(60), uses: 1 })
  t.ok(await tokens.revoke(ended.record.id))
  t.notOk(await tokens.revoke(ended.record.id))
  await t.rejects(tokens.redeem(ended.record.id, ended.secret, one), { code: 'TOKEN_REFUSED' })
})

test('who can write to the store can neither make a token nor bring one back', async (t) => {
  const { store, tokens, sealer } = tokensIn(t.testdir({}))
  const stranger = tokensIn(t.testdir({ other: {} }))
  const forged = await stranger.tokens.create({ ttl: minutes(60), uses: 9 })
  const copied = await stranger.store.get(keys.token(forged.record.id))
  await store.transact([], [{ is: 'put', key: copied?.key ?? '', value: copied?.value ?? new Uint8Array() }])
  await t.rejects(tokens.redeem(forged.record.id, forged.secret, one), { code: 'TOKEN_REFUSED' })
  t.strictSame(await tokens.list(), [])
  t.ok(sealer)
  const { record, secret } = await tokens.create({ ttl: minutes(60), uses: 1 })
  const key = keys.token(record.id)
  const unused = (await store.get(key))?.value ?? new Uint8Array()
  await tokens.redeem(record.id, secret, one)
  await store.transact([], [{ is: 'put', key, value: unused }])
  await t.rejects(tokens.redeem(record.id, secret, two), { message: /used/ }, 'old bytes')
  await tokens.revoke(record.id)
  await store.transact([], [{ is: 'put', key, value: unused }])
  await t.rejects(tokens.redeem(record.id, secret, one), { message: /revoked/ }, 'old bytes of a revoked one')
  const other = await tokens.create({ ttl: minutes(60), uses: 1 })
  const moved = (await store.get(keys.token(other.record.id)))?.value ?? new Uint8Array()
  await store.transact([], [{ is: 'put', key: keys.token('00000000000000aa'), value: moved }])
  await t.rejects(tokens.redeem('00000000000000aa', other.secret, one), { code: 'TOKEN_REFUSED' }, 'moved')
})

test('the door: open while there is a token, and it admits with a certificate', async (t) => {
  const folder = t.testdir()
  const { tokens, clock } = tokensIn(folder)
  const environment = { name: 'default', uuid: settings.uuid }
  const authority = loadOrCreateAuthority(folder, { environment, passphrase: undefined, now: instant(noon) })
  const trust = {
    environment: settings.uuid,
    authorities: [authority.certificate],
    revoked: new Set<string>(),
  }
  const port = await freePort()
  const log = new MemoryLog()
  const store = { url: 'etcd://192.0.2.1:2379', user: 'u', password: 'p', ca: null }
  const door = new Door(
    { tokens, authority: () => authority, trust: () => trust, clock, log, meter: new MemoryMeter() },
    { settings, address: '127.0.0.1', port, store },
  )
  const running = door.run()
  t.teardown(async () => {
    await door.close()
    await running
  })
  const listens = (): Promise<boolean> =>
    new Promise((resolve) => {
      const probe = connect(port, '127.0.0.1')
      probe.once('connect', () => {
        probe.destroy()
        resolve(true)
      })
      probe.once('error', () => resolve(false))
    })
  t.equal(await listens(), false)
  for (const wish of [{ ttl: '1 h' }, { uses: 0 }, { uses: 1.5 }])
    await t.rejects(door.create(wish), { code: 'USAGE' })
  const made: CreatedToken = await door.create({})
  t.equal(await listens(), true)
  const identity = loadOrCreateIdentity(t.testdir({ joining: {} }))
  const answer = await askToJoin({
    token: parseToken(made.token),
    identity,
    name: 'h2',
    now: instant(noon),
  })
  const claimed = { role: { is: 'host', host: identity.id }, signingKey: identity.signingKey } as const
  t.equal(judge(answer.certificate, claimed, trust, instant(noon)).is, 'good')
  t.strictSame([answer.settings, answer.store], [settings, store])
  t.match(await door.list(), [{ used: 1, uses: 1 }])
  clock.advance(minutes(10))
  await until('the door to shut', async () => {
    clock.advance(seconds(5))
    return (await listens()) ? undefined : true
  })
  t.notMatch(JSON.stringify(log.lines), parseToken(made.token).secret)
})

test('without a way to the store, or without the CA, there is no token', async (t) => {
  const { tokens, clock } = tokensIn(t.testdir())
  const options = { settings, address: '127.0.0.1', port: 1, store: undefined }
  const deps = {
    tokens,
    authority: () => {
      throw new TypeError('not asked')
    },
    trust: () => ({ environment: settings.uuid, authorities: [], revoked: new Set<string>() }),
    clock,
    log: new MemoryLog(),
    meter: new MemoryMeter(),
  }
  await t.rejects(new Door(deps, options).create({}), { code: 'NOT_NOW', message: /store move/ })
})
