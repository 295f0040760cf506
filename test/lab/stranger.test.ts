/**
 * Somebody who can write to etcd, but has no certificate, on two real hosts: no host is put in, no name or address
 * led elsewhere, no old bytes brought back; and each attempt shows in `drover doctor`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { until } from '../../lab/command.ts'
import type { LabHost } from '../../lab/host.ts'
import type { Lab } from '../../lab/lab.ts'
import { utf8Text } from '../../model/bytes.ts'
import { keysOf } from '../../model/keys.ts'
import type { ContainerId, HostId } from '../../model/records.ts'
import { instant } from '../../model/time.ts'
import type { Uuid } from '../../model/uuid.ts'
import { loadOrCreateAuthority } from '../../pki/authority.ts'
import { sealRecord } from '../../pki/envelope.ts'
import { headRecordOf } from '../../pki/head.ts'
import { loadOrCreateIdentity } from '../../pki/identity.ts'
import { sealRemoved } from '../../pki/removed.ts'
import { listOf, sealAuthorities } from '../../pki/succession.ts'
import type { DoctorView } from '../../status/doctor.ts'
import type { StatusView } from '../../status/status.ts'
import { UapiClient } from '../../tunnel/uapi-client.ts'
import { readState } from '../../tunnel/uapi-peers.ts'
import { addressOf, labFor, labNeeds, reaches, resolve, resolvesTo, webServer } from '../support/lab.ts'
import { container, hostRecord, ip } from '../support/records.ts'

const web = 'web.shop.rancher.internal'
const keys = keysOf('default')

/** etcd as anybody who reaches it sees it: the lab's has neither passwords nor TLS. */
class Etcd {
  readonly #host: LabHost
  readonly #endpoints: string

  constructor(lab: Lab) {
    this.#host = lab.host(1)
    this.#endpoints = lab.record.store.endpoints.join(',')
  }

  async get(key: string): Promise<string> {
    return (await this.#run('get', '--print-value-only', key)).trimEnd()
  }

  async keys(prefix: string): Promise<readonly string[]> {
    const text = await this.#run('get', '--prefix', '--keys-only', prefix)
    return text.split('\n').filter((line) => line !== '')
  }

  async put(key: string, value: string): Promise<void> {
    await this.#run('put', '--', key, value)
  }

  async remove(key: string): Promise<void> {
    await this.#run('del', key)
  }

  #run(...argv: readonly string[]): Promise<string> {
    return this.#host.must(['env', 'ETCDCTL_API=3', 'etcdctl', `--endpoints=${this.#endpoints}`, ...argv])
  }
}

/** A machine with keys and a CA of its own. */
function strangerOf(t: Test) {
  const folder = mkdtempSync(join(tmpdir(), 'dt-stranger-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const identity = loadOrCreateIdentity(folder)
  const now = instant(Date.now())
  const environment = { name: 'default', uuid: '00000000-0000-5000-8000-00000000e001' as Uuid }
  const ca = loadOrCreateAuthority(folder, { environment, passphrase: undefined, now })
  const { id, signingKey } = identity
  const certificate = ca.issueHost(id, signingKey, now).pem
  let counter = 0
  const live: number[] = []
  const says = (key: string, body: object): string => {
    counter++
    live.push(counter)
    return utf8Text(sealRecord(identity, key, body, counter)) ?? ''
  }
  return {
    id,
    ca,
    signingKey,
    says,
    host: () =>
      hostRecord('evil', {
        id,
        signingKey,
        certificate,
        endpoint: { address: '192.168.77.66', wireguard: 51820 },
      }),
    head: () => utf8Text(sealRecord(identity, keys.head(id), headRecordOf(id, live, now), counter + 1)) ?? '',
  }
}

const problemsOf = async (host: LabHost): Promise<string> =>
  ((await host.drover('status')) as StatusView).problems.map(({ what }) => what).join('\n')

/** Both hosts say what they refuse. */
const seen = (lab: Lab, key: string): Promise<unknown> =>
  Promise.all(
    lab.hosts.map((host) =>
      until(`${host.entry.name} to say that ${key} does not count`, async () =>
        (await problemsOf(host)).includes(key) ? true : undefined,
      ),
    ),
  )

/** What the hosts' `drover doctor` says of the store. */
const toldBy = (hosts: readonly LabHost[], ...lines: readonly RegExp[]): Promise<unknown> =>
  Promise.all(
    hosts.flatMap((host) =>
      lines.map((line) =>
        until(`the doctor of ${host.entry.name} to say ${line}`, async () => {
          const { findings } = (await host.drover('doctor')) as DoctorView
          return findings.some(({ where, what }) => where === 'trust' && line.test(what)) ? true : undefined
        }),
      ),
    ),
  )

test('a stranger who can write to etcd', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'stranger', hosts: 2, store: 'etcd' })
  const [h1, h2] = [lab.host(1), lab.host(2)]
  const [webId] = await Promise.all([
    h1.managed({ name: 'web1', stack: 'shop', service: 'web' }, webServer('web1')),
    h2.managed({ name: 'client', stack: 'shop', service: 'client' }),
  ])
  const web1 = await addressOf(h1, 'web1')
  await resolvesTo(h2, 'client', web, [web1])
  const etcd = new Etcd(lab)
  const names = (await h2.drover('hosts')) as readonly { readonly id: string; readonly name: string }[]
  const h1Id = names.find(({ name }) => name === 'h1')?.id as HostId
  const { body: h1Said } = JSON.parse(await etcd.get(keys.host(h1Id))) as { readonly body: string }
  const { wireguardKey: h1Key } = JSON.parse(h1Said) as { readonly wireguardKey: string }
  const webKey = keys.container(h1Id, webId as ContainerId)
  const allIsWell = async (t: Test): Promise<void> => {
    t.same(await resolve(h2, 'client', web), [web1], 'no name leads elsewhere')
    t.ok(await reaches(h2, 'client', web1))
    const page = await h2.inside('client', 'timeout', '10', 'wget', '-q', '-O', '-', `http://${web1}/`)
    t.equal(page.stdout.trim(), 'web1', 'no address leads elsewhere')
    const hosts = (await h2.drover('hosts')) as readonly { readonly name: string }[]
    t.same(hosts.map(({ name }) => name).sort(), ['h1', 'h2'], 'no host was put in')
    const { peers } = (await h2.drover('status')) as StatusView
    t.same(
      peers.map(({ host, endpoint }) => `${host} ${endpoint}`),
      ['h1 192.168.77.1:51820'],
      'no packet goes elsewhere',
    )
    const engine = readState(await new UapiClient(h2.place.uapi).get())
    t.same(
      engine.peers.map(({ publicKey }) => publicKey),
      [h1Key],
      'and none is for another key: nobody else can read it',
    )
  }
  t.equal(await problemsOf(h2), '', 'nothing is wrong before')

  await t.test('puts in a host, with a block and a container that takes the name', async (t) => {
    const evil = strangerOf(t)
    const rogue = container('rogue', {
      host: evil.id,
      stack: 'shop',
      service: 'web',
      address: ip('10.42.9.9'),
    })
    const records: readonly [string, object][] = [
      [keys.host(evil.id), evil.host()],
      [`${keys.prefix}blocks/10.42.9.0/26`, { host: evil.id, epoch: 99 }],
      [keys.container(evil.id, rogue.id), rogue],
      [keys.alive(evil.id), { host: evil.id, since: 1 }],
    ]
    for (const [key, body] of records) await etcd.put(key, evil.says(key, body))
    await etcd.put(keys.head(evil.id), evil.head())
    await seen(lab, keys.host(evil.id))
    await allIsWell(t)
    const who = `by evil \\(${evil.id}\\), who is no member`
    await toldBy(lab.hosts, new RegExp(`${who}: host: `), new RegExp(`${who}: block: not signed by a member`))
  })

  await t.test('writes over a container, a block and a list of a host', async (t) => {
    const evil = strangerOf(t)
    const forged = container('web1', { id: webId as ContainerId, host: h1Id, address: ip('10.42.9.9') })
    const [block = ''] = (await etcd.keys(`${keys.prefix}blocks/`)).filter((key) => key.includes('10.42.0.0'))
    const [head, alive] = [keys.head(h1Id), keys.alive(h1Id)]
    const lies = new Map([
      [alive, evil.says(alive, { host: h1Id, since: 1 })],
      [block, evil.says(block, { host: evil.id, epoch: 99 })],
      [webKey, evil.says(webKey, forged)],
      [head, evil.says(head, headRecordOf(h1Id, [], instant(1)))],
    ])
    for (const [key, lie] of lies) await etcd.put(key, lie)
    await until('h1 to say again what is true', async () => {
      const now = await Promise.all([...lies].map(async ([key, lie]) => (await etcd.get(key)) !== lie))
      return now.every(Boolean) || undefined
    })
    await toldBy(
      lab.hosts,
      new RegExp(`by ${evil.id}, who is no member: block: not signed by a member`),
      new RegExp(`by ${evil.id}, who is no member: container: signed by another host`),
      new RegExp(`by ${evil.id}, who is no member: head: signed by another host`),
      new RegExp(`by ${evil.id}, who is no member: alive: signed by another host`),
    )
    await allIsWell(t)
  })

  await t.test(
    'puts his own key and endpoint into the record of a host, to read what is sent to it',
    async (t) => {
      const evil = strangerOf(t)
      const key = keys.host(h1Id)
      const before = await etcd.get(key)
      const { body } = JSON.parse(before) as { readonly body: string }
      const record = JSON.parse(body) as object
      const endpoint = { address: '192.168.77.66', wireguard: 51820 }
      const wireguardKey = Buffer.alloc(32, 7).toString('base64')
      // While h1 is away nobody writes over it.
      await h1.kill('daemon')
      await etcd.put(key, evil.says(key, { ...record, endpoint, wireguardKey }))
      await until('h2 to say that it does not count', async () =>
        (await problemsOf(h2)).includes(key) ? true : undefined,
      )
      await allIsWell(t)
      await etcd.put(key, before.replace(/192\.168\.77\.1(?!\d)/, '192.168.77.66'))
      await until('h2 to refuse the altered one as well', async () =>
        (await problemsOf(h2)).includes(key) ? true : undefined,
      )
      await allIsWell(t)
      await toldBy(
        [h2],
        new RegExp(`by ${evil.id}, who is no member: host: signed by another host`),
        /in the name of host h1: host: signature does not verify/,
      )
      await h1.start('daemon')
      await until('h1 to say again what is true', async () =>
        (await etcd.get(key)).includes('192.168.77.66') ? undefined : true,
      )
      await allIsWell(t)
    },
  )

  await t.test('brings old bytes back', async (t) => {
    const old = await etcd.get(webKey)
    const oldHead = await etcd.get(keys.head(h1Id))
    await h1.managed({ name: 'web2', stack: 'shop', service: 'web' })
    const web2 = await addressOf(h1, 'web2')
    await resolvesTo(h2, 'client', web, [web1, web2])
    const web2Id = (await h1.docker('inspect', '-f', '{{.Id}}', 'web2')).trim() as ContainerId
    const web2Key = keys.container(h1Id, web2Id)
    const removed = await etcd.get(web2Key)
    await h1.docker('rm', '-f', 'web2')
    await resolvesTo(h2, 'client', web, [web1])
    // While h1 is away nobody takes the bytes out again.
    await h1.kill('daemon')
    await etcd.put(web2Key, removed)
    await etcd.put(webKey, old)
    await etcd.put(keys.head(h1Id), oldHead)
    await until('h2 to refuse it', async () =>
      (await problemsOf(h2)).includes(keys.head(h1Id)) ? true : undefined,
    )
    t.match(await problemsOf(h2), web2Key)
    await toldBy(
      [h2],
      /in the name of host h1: container: older than the newest list of its host/,
      /in the name of host h1: head: older than what was seen before/,
    )
    t.same(await resolve(h2, 'client', web), [web1])
    await h2.restart('daemon')
    await resolvesTo(h2, 'client', web, [web1])
    await h1.start('daemon')
    await until('h1 to take them out', async () =>
      (await etcd.get(web2Key)) === '' && (await etcd.get(keys.head(h1Id))) !== oldHead ? true : undefined,
    )
    await allIsWell(t)
  })

  await t.test('takes out what hosts have written', async (t) => {
    const block = (await etcd.keys(`${keys.prefix}blocks/`)).find((key) => key.includes('10.42.0.0')) ?? ''
    const gone = [webKey, keys.host(h1Id), keys.head(h1Id), keys.alive(h1Id), block, keys.settings]
    for (const key of gone) await etcd.remove(key)
    await until('h1 to write it again', async () => {
      const now = await Promise.all(gone.map((key) => etcd.get(key)))
      return now.every((value) => value !== '') || undefined
    })
    const taken = ['container', 'host', 'head', 'alive', 'block', 'settings'].map(
      (what) => new RegExp(`: ${what}: it was taken out`),
    )
    await toldBy([h1], ...taken)
    await toldBy([h2], /: settings: it was taken out/)
    await allIsWell(t)
  })

  await t.test('forges lists, settings, a token and a certificate', async (t) => {
    const evil = strangerOf(t)
    const now = instant(Date.now())
    const { settings } = keys
    const { body } = JSON.parse(await etcd.get(settings)) as { readonly body: string }
    const { uuid, ...rest } = JSON.parse(body) as { readonly uuid: Uuid }
    const lists = listOf(evil.ca, 9)
    const token = keys.token('0123456789abcdef')
    const lies: readonly [string, string][] = [
      [keys.removed, utf8Text(sealRemoved({ environment: uuid, number: 9, hosts: [h1Id] }, evil.ca)) ?? ''],
      [keys.authorities, utf8Text(sealAuthorities({ ...lists, environment: uuid }, evil.ca)) ?? ''],
      [settings, evil.says(settings, { ...rest, uuid, subnet: '10.99.0.0/16' })],
      [token, evil.says(token, { id: '0123456789abcdef' })],
      [keys.certificate(h1Id), evil.ca.issueHost(h1Id, evil.signingKey, now).pem],
    ]
    for (const [key, lie] of lies) await etcd.put(key, lie)
    await toldBy(
      lab.hosts,
      /: removed: the CA has not signed it/,
      /: authorities: no authority of this environment has signed it/,
      new RegExp(`by ${evil.id}, who is no member: settings: not what this environment was made with`),
      new RegExp(`by ${evil.id}, who is no member: token: not signed by a member`),
      /: certificate: its issuer is/,
    )
    await until('h1 to put the settings back', async () =>
      (await etcd.get(settings)).includes('10.99.0.0') ? undefined : true,
    )
    await allIsWell(t)
  })
})
