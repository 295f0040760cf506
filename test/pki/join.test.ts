/**
 * The way in, on loopback: the line that is pasted, the endpoint that proves itself before it hears a secret,
 * and the limits on strangers.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer, type TLSSocket } from 'node:tls'
import { type Test, test } from 'tap'
import type { JoinAnswer, JoinRequest } from '../../model/admission.ts'
import { DroverError } from '../../model/errors.ts'
import { instant, millis, minutes } from '../../model/time.ts'
import type { Uuid } from '../../model/uuid.ts'
import { type Authority, loadOrCreateAuthority } from '../../pki/authority.ts'
import { ed25519Of, readCertificate } from '../../pki/certificate.ts'
import { loadOrCreateIdentity } from '../../pki/identity.ts'
import { askToJoin } from '../../pki/join-client.ts'
import { type JoinPlace, type JoinServerDeps, startJoinServer } from '../../pki/join-server.ts'
import { RateLimit } from '../../pki/rate-limit.ts'
import { parseToken, type Token, tokenText } from '../../pki/token.ts'
import { freePort } from '../support/free-port.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../support/ports.ts'
import { settings } from '../support/records.ts'

const environment = { name: 'default', uuid: settings.uuid }
const now = instant(Date.now())

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'dt-join-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const caIn = (t: Test, name = environment): Authority =>
  loadOrCreateAuthority(folderOf(t), { environment: name, passphrase: undefined, now })

const tokenFor = (ca: Authority, place: string, over: Partial<Token> = {}): Token => ({
  environment: 'default',
  uuid: environment.uuid,
  places: [place],
  authority: ca.certificate.fingerprint,
  id: '0123456789abcdef',
  secret: 'secret',
  ...over,
})

const answer: JoinAnswer = {
  certificate: 'c',
  authorities: ['a'],
  cross: null,
  revoked: [],
  listed: 0,
  settings,
  store: { url: 'etcd://192.0.2.1:2379', user: null, password: null, ca: null },
}

async function serverFor(
  t: Test,
  ca: Authority,
  over: { admit?: JoinServerDeps['admit']; pair?: Pick<JoinPlace, 'key' | 'cert'> } = {},
) {
  const seen: JoinRequest[] = []
  const [log, meter] = [new MemoryLog(), new MemoryMeter()]
  const admit: JoinServerDeps['admit'] = async (request) => {
    seen.push(request)
    return answer
  }
  const port = await freePort()
  const pair = over.pair ?? ca.issueJoin(['127.0.0.1'], now)
  const deps = { clock: new FakeClock(), log, meter, admit: over.admit ?? admit, onRefused: () => undefined }
  const server = await startJoinServer(deps, { address: '127.0.0.1', port, ...pair })
  t.teardown(() => server.close())
  return { place: `127.0.0.1:${port}`, seen, log, meter }
}

test('a token is one line, and what is cut off or altered is found before anything is sent', (t) => {
  const ca = caIn(t)
  const token = tokenFor(ca, '192.0.2.1:51819')
  const text = tokenText(token)
  t.notMatch(text, /\s/)
  t.strictSame(parseToken(text), token)
  const bad = Array.from(text, (_, at) => text.slice(0, at))
  const altered = Array.from(text, (_, at) => `${text.slice(0, at)}!${text.slice(at + 1)}`)
  for (const one of [...bad, ...altered, `x${text}`, '', 'hello']) {
    try {
      parseToken(one)
      t.fail(one)
    } catch (error) {
      if (!(error instanceof DroverError && error.code === 'TOKEN_INVALID')) t.fail(`${one}: ${error}`)
    }
  }
  t.end()
})

test('a host joins by one request', async (t) => {
  const ca = caIn(t)
  const { place, seen, log, meter } = await serverFor(t, ca)
  const identity = loadOrCreateIdentity(folderOf(t))
  const joining = { token: tokenFor(ca, place), identity, name: 'h2', now }
  t.strictSame(await askToJoin(joining), answer)
  t.match(seen, [
    { token: '0123456789abcdef', secret: 'secret', name: 'h2', signingKey: identity.signingKey },
  ])
  t.equal(meter.values.get('drover_joins_total{"result":"admitted"}'), 1)
  t.notMatch(JSON.stringify(log.lines), 'secret', 'no secret in the log')
})

/** What a host has: the same key, certified for another role. */
function memberCertificate(ca: Authority, cert: string): string {
  const certificate = readCertificate(cert)
  const key = certificate === undefined ? undefined : ed25519Of(certificate)
  return ca.issueHost('some-host', key ?? '', now).pem
}

test('nobody but the host that made the token hears the secret', async (t) => {
  const ca = caIn(t)
  const identity = loadOrCreateIdentity(folderOf(t))
  const other = caIn(t)
  const heard: string[] = []
  const impostor = async (pair: Pick<JoinPlace, 'key' | 'cert'>): Promise<string> => {
    const server = createServer({ ...pair, minVersion: 'TLSv1.3' }, (socket: TLSSocket) => {
      socket.on('data', (chunk) => void heard.push(chunk.toString()))
      socket.on('error', () => undefined)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    return `127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const end = '-----END CERTIFICATE-----\n'
  const leafOf = (cert: string): string => `${cert.split(end)[0]}${end}`
  const [own, foreign] = [ca, other].map((one) => one.issueJoin(['127.0.0.1'], now))
  if (own === undefined || foreign === undefined) throw new TypeError('two pairs were made')
  const cases = {
    'another CA': foreign,
    'another CA, with ours beside it': { ...foreign, cert: leafOf(foreign.cert) + ca.certificate.pem },
    'a member of the environment': {
      key: foreign.key,
      cert: memberCertificate(ca, foreign.cert) + ca.certificate.pem,
    },
    'no CA shown': { ...own, cert: leafOf(own.cert) },
  }
  for (const [what, pair] of Object.entries(cases)) {
    const token = tokenFor(ca, await impostor(pair))
    await t.rejects(askToJoin({ token, identity, name: 'h2', now }), { code: 'JOIN_UNPROVEN' }, what)
  }
  const elsewhere = tokenFor(ca, await impostor(own), {
    uuid: '11111111-2222-3333-4444-555555555555' as Uuid,
  })
  await t.rejects(askToJoin({ token: elsewhere, identity, name: 'h2', now }), { code: 'JOIN_UNPROVEN' })
  const late = { token: tokenFor(ca, await impostor(own)), identity, name: 'h2' }
  await t.rejects(askToJoin({ ...late, now: instant(now - minutes(180)) }), {
    code: 'CERTIFICATE_NOT_YET_VALID',
  })
  await t.rejects(askToJoin({ ...late, now: instant(now + minutes(32 * 24 * 60)) }), {
    code: 'CERTIFICATE_EXPIRED',
  })
  const closed = tokenFor(ca, `127.0.0.1:${await freePort()}`)
  await t.rejects(askToJoin({ token: closed, identity, name: 'h2', now }), { code: 'JOIN_UNREACHABLE' })
  t.strictSame(heard, [])
})

test('refusals are counted and logged, and tell a stranger nothing', async (t) => {
  const ca = caIn(t)
  const { place, log, meter } = await serverFor(t, ca, {
    admit: async () => {
      throw new DroverError('TOKEN_REFUSED', 'its secret is wrong')
    },
  })
  const identity = loadOrCreateIdentity(folderOf(t))
  const ask = () => askToJoin({ token: tokenFor(ca, place), identity, name: 'h2', now })
  t.notMatch(await ask().catch((error: Error) => error.message), /secret is wrong/)
  await t.rejects(ask(), { code: 'TOKEN_REFUSED' })
  t.match(log.lines, [{ level: 'warn', message: 'a join was refused', fields: { why: /secret is wrong/ } }])
  for (let at = 0; at < 8; at++) await t.rejects(ask(), { code: 'TOKEN_REFUSED' })
  await t.rejects(ask(), { message: /too many tries/ }, 'the eleventh try in a minute')
  t.equal(meter.values.get('drover_joins_total{"result":"refused"}'), 11)
})

test('so many tries in a minute', (t) => {
  const limit = new RateLimit({ perAddress: 2, overall: 3 })
  const tries = (from: string, at: number): boolean => limit.admits(from, millis(at))
  t.strictSame([tries('a', 0), tries('a', 1), tries('a', 2)], [true, true, false])
  t.strictSame([tries('b', 3), tries('c', 4)], [true, false], 'overall')
  t.ok(tries('a', 60_000))
  t.end()
})
