/**
 * What holds the environment together, on real hosts: the key of the CA given to a second host, a new CA in the place of
 * the old one, preshared keys, and an etcd that is restored from an old backup, then emptied. Meanwhile a container
 * of one host pings one of another.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import type { CaView } from '../../daemon/trust/ca.ts'
import { must, until } from '../../lab/command.ts'
import { drover } from '../../lab/drover.ts'
import type { LabHost } from '../../lab/host.ts'
import type { Lab } from '../../lab/lab.ts'
import { storeAddress } from '../../lab/layout.ts'
import type { HostView, StatusView } from '../../status/status.ts'
import { UapiClient } from '../../tunnel/uapi-client.ts'
import { readState } from '../../tunnel/uapi-peers.ts'
import {
  addressOf,
  containersOf,
  labFor,
  labNeeds,
  Pinger,
  pidOf,
  reaches,
  resolvesTo,
} from '../support/lab.ts'

const statusOf = async (host: LabHost): Promise<StatusView> => (await host.drover('status')) as StatusView
const caOf = async (host: LabHost): Promise<CaView> => (await host.drover('ca', 'show')) as CaView
const hostsOf = async (host: LabHost): Promise<readonly HostView[]> =>
  (await host.drover('hosts')) as readonly HostView[]
const namesOf = async (host: LabHost): Promise<string> =>
  (await hostsOf(host))
    .map(({ name }) => name)
    .sort()
    .join(' ')
const blocksOf = async (host: LabHost): Promise<string> =>
  (await hostsOf(host))
    .map(({ name, blocks }) => `${name} ${[...blocks].sort().join(',')}`)
    .sort()
    .join('; ')

/** Runs a subcommand that must succeed. */
async function does(t: Test, host: LabHost, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await host.exec(drover(host.place, ...args))
  t.equal(code, 0, `drover ${args.join(' ')}: ${stderr}`)
  return stdout
}

const isTrue = (what: string, holds: () => Promise<boolean>): Promise<true> =>
  until(what, async () => ((await holds()) ? true : undefined), { patience: 150_000 })

/** etcd as an operator has it: a snapshot of its data, and its data replaced. */
class Backup {
  readonly #lab: Lab
  readonly #data: string
  readonly #file: string

  constructor(lab: Lab) {
    this.#lab = lab
    this.#data = join(lab.place.folder, 'etcd1')
    this.#file = join(lab.place.folder, 'backup.db')
  }

  save(): Promise<string> {
    const endpoints = this.#lab.record.store.endpoints.join(',')
    return this.#ctl('--endpoints', endpoints, 'snapshot', 'save', this.#file)
  }

  /** As docs/operations.md says: with a token of its own, so that hosts notice. */
  async restore(): Promise<void> {
    const peer = `http://${storeAddress(1)}:2380`
    await this.#lab.killMember(1)
    renameSync(this.#data, `${this.#data}.lost`)
    const cluster = ['--initial-cluster', `etcd1=${peer}`, '--initial-cluster-token', 'restored']
    const member = ['--name', 'etcd1', '--initial-advertise-peer-urls', peer, '--data-dir', this.#data]
    await this.#ctl('snapshot', 'restore', this.#file, ...member, ...cluster)
    await this.#lab.startMember(1)
  }

  async empty(): Promise<void> {
    await this.#lab.killMember(1)
    rmSync(this.#data, { recursive: true })
    await this.#lab.startMember(1)
  }

  #ctl(...args: readonly string[]): Promise<string> {
    return must(['etcdctl', ...args], { namespace: this.#lab.place.store, env: { ETCDCTL_API: '3' } })
  }
}

test('the CA, its holders, and a store that forgets', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'trust', hosts: 2, store: 'etcd' })
  const [h1, h2] = [lab.host(1), lab.host(2)]
  await Promise.all([
    h1.managed({ name: 'client', stack: 'shop', service: 'client' }),
    h2.managed({ name: 'web', stack: 'shop', service: 'web' }),
  ])
  const web = await addressOf(h2, 'web')
  await reaches(h1, 'client', web)
  let pinger = await Pinger.start(await pidOf(h1, 'client'), web)
  const lost = async (): Promise<number> => {
    const { sent, received } = await pinger.stop()
    pinger = await Pinger.start(await pidOf(h1, 'client'), web)
    return sent - received
  }

  await t.test('a second host holds the key', async (t) => {
    t.match(await h2.exec(drover(h2.place, 'ca', 'promote', 'h1')), {
      code: 2,
      stderr: /does not hold the key/,
    })
    t.match(await does(t, h1, 'ca', 'promote', 'h2'), /h2 .* holds the key/)
    await isTrue('both to be named', async () => (await caOf(h1)).authorities[0]?.holders?.join() === 'h1,h2')
    t.match((await caOf(h2)).authorities, [{ held: true, problem: null }])
  })

  await t.test('a new CA takes the place of the old one', async (t) => {
    const [{ fingerprint: old } = { fingerprint: '' }] = (await caOf(h1)).authorities
    t.match(await does(t, h1, 'ca', 'roll'), /the new CA is/)
    await isTrue('h2 to believe it', async () => (await caOf(h2)).authorities.length === 2)
    await isTrue('the old one to be gone everywhere', async () =>
      (await Promise.all([h1, h2].map(caOf))).every(
        ({ authorities }) => authorities.length === 1 && authorities[0]?.fingerprint !== old,
      ),
    )
    for (const host of [h1, h2]) t.equal((await caOf(host)).certificate.problem, null)
    t.match(
      (await statusOf(h2)).problems,
      [{ what: /of no use any more/ }],
      'the key of h2 is of the old one',
    )
    await does(t, h1, 'ca', 'promote', 'h2')
    await isTrue('nothing to be wrong', async () => (await statusOf(h2)).problems.length === 0)
    t.equal(await lost(), 0, 'no ping is lost meanwhile')
  })

  await t.test('preshared keys, on both hosts and changed every minute', async (t) => {
    for (const host of [h1, h2]) {
      const text = readFileSync(host.place.config, 'utf8')
      writeFileSync(host.place.config, text.replace('tunnel: {', 'tunnel: {"presharedKeys":"1m",'))
      await host.restart('daemon', 'SIGTERM')
    }
    const keyOf = async (host: LabHost): Promise<string> => {
      const { peers } = readState(await new UapiClient(host.place.uapi).get())
      return peers[0]?.presharedKey ?? ''
    }
    const same = (): Promise<string> =>
      until('the same key on both', async () => {
        const [one, other] = await Promise.all([h1, h2].map(keyOf))
        return one === other && one !== '' ? one : undefined
      })
    const first = await same()
    t.match((await statusOf(h1)).peers, [{ preshared: true }])
    await until('another key', async () => ((await same()) === first ? undefined : true), {
      patience: 150_000,
    })
    t.ok(await reaches(h1, 'client', web))
    t.equal(await lost(), 0, 'no ping is lost meanwhile')
  })

  await t.test('etcd is restored from before a host came and another left', async (t) => {
    const backup = new Backup(lab)
    await h2.managed({ name: 'short', stack: 'shop', service: 'short' })
    await addressOf(h2, 'short')
    await backup.save()
    await h2.docker('rm', '-f', 'short')
    const third = await lab.addMachine()
    await lab.startEngine(third)
    await lab.join(third)
    const h3 = lab.host(third)
    await h3.managed({ name: 'late', stack: 'shop', service: 'late' })
    const late = await addressOf(h3, 'late')
    await reaches(h1, 'client', late)
    await isTrue('all to know all', async () => (await namesOf(h1)) === 'h1 h2 h3')
    const blocks = await blocksOf(h1)
    const watching = await Pinger.start(await pidOf(h1, 'client'), late)

    await backup.restore()
    await isTrue('every host to be connected', async () =>
      (await Promise.all([h1, h2, h3].map(statusOf))).every(({ store }) => store.connected),
    )
    await isTrue('all to know all again', async () =>
      (await Promise.all([h1, h2, h3].map(blocksOf))).every((one) => one === blocks),
    )
    t.equal(await addressOf(h3, 'late'), late, 'it keeps its address')
    t.notOk((await containersOf(h1)).has('short'), 'what was removed stays away')
    await resolvesTo(h1, 'client', 'late.shop.rancher.internal', [late])
    await isTrue('nothing to be wrong', async () =>
      (await Promise.all([h1, h2, h3].map(statusOf))).every(({ problems }) => problems.length === 0),
    )
    const { sent, received } = await watching.stop()
    t.equal(sent - received, 0, `no ping is lost to the host that the backup does not know, of ${sent}`)
    t.equal(await lost(), 0)

    await does(t, h1, 'host', 'rm', 'h3')
    await isTrue('h3 to be out', async () => (await namesOf(h2)) === 'h1 h2')
  })

  await t.test('etcd is emptied', async (t) => {
    const blocks = await blocksOf(h1)
    await new Backup(lab).empty()
    await isTrue('both to be connected', async () =>
      (await Promise.all([h1, h2].map(statusOf))).every(({ store }) => store.connected),
    )
    await isTrue('all to be there again', async () =>
      (await Promise.all([h1, h2].map(blocksOf))).every((one) => one === blocks),
    )
    t.equal(await addressOf(h2, 'web'), web)
    await resolvesTo(h1, 'client', 'web.shop.rancher.internal', [web])
    t.equal(await namesOf(h1), 'h1 h2', 'who was removed stays out')
    await isTrue('the settings and the lists to be back', async () => {
      const argv = [
        'etcdctl',
        '--endpoints',
        lab.record.store.endpoints.join(','),
        'get',
        '--prefix',
        '--keys-only',
        '/',
      ]
      const keys = await must(argv, { namespace: lab.place.store, env: { ETCDCTL_API: '3' } })
      return ['settings', 'removed', 'authorities'].every((key) => keys.includes(`/default/${key}`))
    })
    t.equal(await lost(), 0, 'no ping is lost')
  })
  await pinger.stop()
})
