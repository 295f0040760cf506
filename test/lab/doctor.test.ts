/**
 * `drover doctor` on two real hosts: nothing found while all is well, and each fault that is made shows with its
 * remedy, with the daemon and without.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { until } from '../../lab/command.ts'
import type { LabHost } from '../../lab/host.ts'
import { addressOf, doctor as findingsOf, labFor, labNeeds, pidOf } from '../support/lab.ts'

async function doctor(host: LabHost): Promise<{ readonly code: number; readonly text: string }> {
  const { code, findings } = await findingsOf(host)
  return { code, text: findings.map(({ where, what }) => `${where}: ${what}`).join('\n') }
}

/** Waits until doctor says all of it, or no longer any of it. */
const says = (host: LabHost, ...wanted: readonly RegExp[]): Promise<boolean> => {
  let last = ''
  return until(
    `${host.entry.name} to find ${wanted.join(' ')}`,
    async () => {
      last = (await doctor(host)).text
      return wanted.every((one) => one.test(last)) || undefined
    },
    { patience: 90_000, every: 200, blame: () => `; it says\n${last}` },
  )
}

const isWell = (host: LabHost): Promise<boolean> => says(host, /^dns: no upstream resolver is known[^\n]*$/)

test('doctor', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'doctor', hosts: 2, store: 'etcd' })
  const [h1, h2] = [lab.host(1), lab.host(2)]
  await Promise.all([h1.managed({ name: 'one' }), h2.managed({ name: 'two' })])
  await Promise.all([addressOf(h1, 'one'), addressOf(h2, 'two')])
  // The lab has no resolver outside: the one thing that is found in it.
  await Promise.all([isWell(h1), isWell(h2)])
  t.equal((await doctor(h1)).code, 1)

  await t.test('rules that somebody took away', async (t) => {
    await h1.must(['nft', 'delete', 'table', 'inet', 'drover_default'])
    await h1.must(['iptables', '-w', '-F', 'DOCKER-USER'])
    t.match((await doctor(h1)).text, /nftables table drover_default is not there|DOCKER-USER .* has no rule/)
    t.ok(await says(h1, /^network: something changes Drover's rules.*mended once/m))
    t.notMatch((await doctor(h1)).text, /is not there|has no rule/, 'and it is mended')
    await h1.must(['sysctl', '-qw', 'net.ipv4.conf.drover0.forwarding=0'])
    t.match((await doctor(h1)).text, /net\.ipv4\.conf\.drover0\.forwarding is 0/)
  })

  await t.test('containers', async (t) => {
    await h2.managed({ name: 'one' })
    await h1.managed({ name: 'not.a.label' })
    await h1.managed({ name: 'far', args: ['--label', 'io.rancher.container.requested_ip=10.9.9.9'] })
    await h1.managed({ name: 'log', args: ['--network', 'container:one'] })
    await addressOf(h1, 'log')
    t.ok(
      await says(
        h1,
        /^containers: container name one is used on h1 and h2/m,
        /^containers: the container name not\.a\.label on h1 is in no answer of DNS: a dot/m,
        /^containers: container far: .*10\.9\.9\.9/m,
      ),
    )
    const before = await pidOf(h1, 'one')
    await h1.docker('restart', '-t', '0', 'one')
    t.not(await pidOf(h1, 'one'), before)
    t.ok(await says(h1, /^containers: container log shares the network of one, but of an earlier run/m))
    await h1.docker('restart', '-t', '0', 'log')
    await until('the two to be one again', async () =>
      (await doctor(h1)).text.includes('shares the network') ? undefined : true,
    )
  })

  await t.test('somebody writes into the store', async (t) => {
    const [endpoint = ''] = lab.record.store.endpoints
    const put = (key: string) =>
      h1.must(['env', 'ETCDCTL_API=3', 'etcdctl', `--endpoints=${endpoint}`, 'put', key, 'nonsense'])
    await put('/drover/v1/default/blocks/10.42.200.0/26')
    await put('/drover/v1/default/blocks/10.42.200.0/26')
    t.ok(
      await says(
        h2,
        /^trust: somebody wrote into the store without right, by nobody who signs: block: .*, 2 times from/m,
      ),
    )
  })

  await t.test('a report of a daemon that runs', async (t) => {
    const { code, stdout } = await h1.exec(['drover', 'report'])
    t.equal(code, 0)
    for (const title of ['doctor', 'drover status', 'metrics', 'log of the daemon', 'log of the tunnel'])
      t.match(stdout, `===== ${title}\n`)
    t.match(stdout, /watching the Docker engine/, 'the last lines of the log')
    t.match(stdout, /drover_environment_revision \d/)
    const identity = readFileSync(join(h1.place.state, 'identity.json'), 'utf8')
    for (const secret of Object.values(JSON.parse(identity) as Record<string, string>))
      t.notOk(stdout.includes(secret) || stdout.includes(Buffer.from(secret, 'base64').toString('hex')))
  })

  await t.test('parts that are away', async (t) => {
    await h1.kill('dockerd')
    t.ok(await says(h1, /^docker: the Docker engine at .* does not answer/m))
    await h2.kill('daemon')
    const { code, text } = await doctor(h2)
    t.equal(code, 2)
    t.match(text, /^daemon: the daemon does not answer/m)
    t.notMatch(text, /network:|docker:/, 'what the daemon has left stands')
    await h2.kill('tunnel')
    t.ok(await says(h1, /^hosts: host h2 .* is away: .*the last answer by wireguard came/m))
  })
})
