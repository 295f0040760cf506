/**
 * Clients that are not ours, at the service's real address: one that is written from the contract alone, curl and
 * busybox as they are in images, and a thousand containers that wait at once, each from its own address.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { test } from 'tap'
import { formatIpv4 } from '../../model/ip.ts'
import type { ContainerRecord } from '../../model/records.ts'
import { ContractClient } from '../support/contract-client.ts'
import { shopOf, show } from '../support/metadata.ts'
import { becomeHost, metadataHost, metadataUrl } from '../support/metadata-host.ts'
import { isRoot, needsRoot, until } from '../support/netns.ts'
import { containerRecordOf, environmentOf, ip } from '../support/snapshots.ts'

if (isRoot) becomeHost()

const execute = promisify(execFile)

/** The shop at addresses of the environment. */
const shop = shopOf()
const managed = (record: ContainerRecord): ContainerRecord =>
  record.address === null
    ? record
    : { ...record, address: ip(formatIpv4(record.address).replace('127.0.', '10.42.')) }
const inEnvironment = {
  ...shop,
  containers: new Map([...shop.containers].map(([id, record]) => [id, managed(record)])),
}
const web = '10.42.0.11'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** What the text form shows of JSON: every scalar by its path. */
function scalarsOf(
  path: string,
  value: Json,
  found = new Map<string, string>(),
): ReadonlyMap<string, string> {
  if (typeof value !== 'object' || value === null) return found.set(path, value === null ? '' : String(value))
  const entries = Object.entries(value)
  if (entries.length === 0) found.set(path, '')
  for (const [key, inner] of entries) {
    scalarsOf(`${path}/${encodeURIComponent(key).replaceAll('%20', '+')}`, inner, found)
  }
  return found
}

test('a client that knows the contract alone', needsRoot, async (t) => {
  const metadata = await metadataHost(t, inEnvironment)
  const client = new ContractClient('169.254.169.250', 80, web)
  t.equal((await client.ask('/')).body, '2015-07-25\n2015-12-19\n2016-07-29\nlatest\n')
  for (const version of ['2015-07-25', 'latest']) {
    const { body } = await client.ask(`/${version}`, ['Accept: application/json'])
    const walked = await client.walk(`/${version}`)
    t.ok(walked.size > 300, `${walked.size} scalars`)
    t.strictSame(new Map([...walked].sort()), new Map([...scalarsOf(`/${version}`, JSON.parse(body))].sort()))
  }
  t.equal(await client.text('/latest/self/container/name'), 'shop-web-1')
  const version = await client.nextVersion('init', 5)
  const next = client.nextVersion(version, 60)
  await until('it waits', async () => (await metadata.stats())?.waiting === 1)
  metadata.apply(environmentOf({ revision: 2, containers: [...inEnvironment.containers.values()].slice(1) }))
  t.not(await next, version)
})

test('curl and busybox', needsRoot, async (t) => {
  const metadata = await metadataHost(t, inEnvironment)
  const curl = async (...args: string[]) =>
    (await execute('curl', ['-sS', '--max-time', '60', '--interface', web, ...args])).stdout
  const wget = async (path: string) =>
    (await execute('busybox', ['wget', '-qO-', `${metadataUrl}${path}`])).stdout
  t.equal(await wget('/latest/self/host/name'), 'host1')
  t.equal(await wget('/latest/services/web/containers'), '0=shop-web-1\n1=shop-web-2\n')
  t.equal(await wget('/latest//version').then((version) => version.length), 36, 'a redirect is followed')
  await t.rejects(wget('/latest/nope'), { code: 1, stderr: /404 Not Found/ })
  t.equal(await curl(`${metadataUrl}/latest/self/container/primary_ip`), web)
  t.equal(
    await curl('-o', '/dev/null', '-w', '%{http_code} %{content_type}', `${metadataUrl}/latest/`),
    '200 text/plain; charset=utf-8',
  )
  t.match(
    await curl('-I', `${metadataUrl}/latest/version`),
    /^HTTP\/1\.1 200 OK\r\n.*Content-Length: 36\r\n/s,
  )
  const json = ['-H', 'Accept: application/json']
  const plain = await curl(...json, `${metadataUrl}/latest`)
  t.equal(await curl(...json, '--compressed', `${metadataUrl}/latest`), plain)
  const head = await curl('-I', ...json, `${metadataUrl}/latest/hosts`)
  const etag = /^ETag: (.*)\r$/m.exec(head)?.[1]
  const known = ['-o', '/dev/null', '-w', '%{http_code}', '-H', `If-None-Match: ${etag}`]
  t.equal(await curl(...json, ...known, `${metadataUrl}/latest/hosts`), '304')
  const version = await curl(`${metadataUrl}/latest/version`)
  const waiting = wget(`/latest/version?wait=true&value=${version}`)
  await until('it waits', async () => (await metadata.stats())?.waiting === 1)
  const same = await curl(`${metadataUrl}/latest/version?wait=true&value=${version}&maxWait=1`)
  t.equal(same, version, 'the end of maxWait')
  metadata.apply(environmentOf({ revision: 2 }))
  t.not(await waiting, version)
})

test('a thousand containers wait at once, each for itself', { ...needsRoot, timeout: 120_000 }, async (t) => {
  const many = Array.from({ length: 1000 }, (_, at) =>
    containerRecordOf(at + 1, { name: `c${at + 1}`, stack: 'many', service: 'poller', index: at + 1 }),
  )
  const metadata = await metadataHost(t, environmentOf({ containers: many }))
  const clients = many.map(
    ({ address }) => new ContractClient('169.254.169.250', 80, address === null ? '' : formatIpv4(address)),
  )
  const names = await Promise.all(clients.map((client) => client.text('/latest/self/container/name')))
  t.strictSame(
    names,
    many.map(({ name }) => name),
    'everybody is itself',
  )
  const waiting = clients.map((client) =>
    client.text('/latest/self/container/state?wait=true&value=running&maxWait=120'),
  )
  await until('all wait', async () => (await metadata.stats())?.waiting === 1000, 60_000)
  const [first, second, ...others] = many
  if (first === undefined || second === undefined) throw new TypeError('no containers')
  await show(
    metadata,
    environmentOf({ revision: 2, containers: [{ ...first, state: 'exited' }, second, ...others] }),
  )
  t.equal(await waiting[0], 'stopped', 'who changed is told')
  t.equal((await metadata.stats())?.waiting, 999, 'and nobody else')
  metadata.apply(
    environmentOf({ revision: 3, containers: many.map((each) => ({ ...each, state: 'restarting' })) }),
  )
  const states = await Promise.all(waiting.slice(1))
  t.equal(states.filter((state) => state === 'restarting').length, 999)
})
