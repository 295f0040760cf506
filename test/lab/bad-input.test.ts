/**
 * What goes wrong in real life, on two hosts with etcd: each mistake ends in a clear line or a counter, and what
 * worked before goes on working.
 */
import { type Test, test } from 'tap'
import { until } from '../../lab/command.ts'
import type { LabHost } from '../../lab/host.ts'
import type { Lab } from '../../lab/lab.ts'
import type { ContainerView, StatusView } from '../../status/status.ts'
import { addressOf, labFor, labNeeds, reaches, resolve, resolvesTo, webServer } from '../support/lab.ts'

const web = 'web.shop.rancher.internal'

/** Writes what a stranger with access to etcd could write. */
async function putInStore(lab: Lab, host: LabHost, key: string, value: string): Promise<void> {
  const endpoints = lab.record.store.endpoints.join(',')
  await host.must([
    'env',
    'ETCDCTL_API=3',
    'etcdctl',
    `--endpoints=${endpoints}`,
    'put',
    `/drover/v1/default/${key}`,
    value,
  ])
}

const containerOf = async (host: LabHost, name: string): Promise<ContainerView | undefined> =>
  ((await host.drover('ps')) as readonly ContainerView[]).find((one) => one.name === name)

const rejected = async (host: LabHost): Promise<number> => {
  const text = await host.must(['curl', '-s', '--unix-socket', host.entry.admin, 'http://drover/metrics'])
  return [...text.matchAll(/^drover_records_rejected_total\{.*\} (\d+)$/gm)].reduce(
    (sum, match) => sum + Number(match[1]),
    0,
  )
}

/** The problems that `ps` shows for a container, once there are any. */
const problemsOf = (host: LabHost, name: string): Promise<readonly string[]> =>
  until(`problems of ${name}`, async () => {
    const problems = (await containerOf(host, name))?.problems ?? []
    return problems.length > 0 ? problems : undefined
  })

test('bad input', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'bad', hosts: 2, store: 'etcd' })
  const [h1, h2] = [lab.host(1), lab.host(2)]
  await Promise.all([
    h1.managed({ name: 'web1', stack: 'shop', service: 'web' }, webServer('web1')),
    h2.managed({ name: 'client', stack: 'shop', service: 'client' }),
  ])
  const [web1] = await Promise.all([addressOf(h1, 'web1'), addressOf(h2, 'client')])
  /** What worked before still works. */
  const allIsWell = async (t: Test): Promise<void> => {
    t.same(await resolve(h2, 'client', web), [web1])
    t.ok(await reaches(h2, 'client', web1))
  }
  await resolvesTo(h2, 'client', web, [web1])

  await t.test('garbage in etcd, written by someone else', async (t) => {
    const before = await rejected(h2)
    const [victim] = ((await h1.drover('hosts')) as readonly { id: string; name: string }[]).filter(
      ({ name }) => name === h1.entry.name,
    )
    const container = await containerOf(h1, 'web1')
    await putInStore(lab, h1, 'nonsense', 'x')
    await putInStore(lab, h1, 'hosts/not-an-id', '{"name":"evil"}')
    await putInStore(
      lab,
      h1,
      `containers/${victim?.id}/${container?.id}`,
      '{"body":"{}","counter":1,"key":"x","signature":"y"}',
    )
    await putInStore(lab, h1, `hosts/${victim?.id}`, 'garbage over the record of a host')
    await until('the garbage to be counted', async () =>
      (await rejected(h2)) >= before + 4 ? true : undefined,
    )
    await resolvesTo(h2, 'client', web, [web1])
    await allIsWell(t)
  })

  await t.test('absurd labels', async (t) => {
    const absurd = [
      '--label',
      `io.rancher.stack.name=${'x'.repeat(10_000)}`,
      '--label',
      'io.rancher.stack_service.name=a b/\u0001\u0002/c/d/e',
    ]
    await h1.managed({ name: 'absurd', args: absurd })
    t.ok(await addressOf(h1, 'absurd'), 'it is managed all the same')
    t.match((await problemsOf(h1, 'absurd')).join(), /label/)
    await h1.managed({ name: 'Not.A_Label..', args: [] })
    t.ok(await addressOf(h1, 'Not.A_Label..'))
    await allIsWell(t)
    await h1.docker('rm', '-f', 'absurd', 'Not.A_Label..')
  })

  await t.test('requested addresses that cannot be had', async (t) => {
    const requests: [string, string, RegExp][] = [
      ['outside', '192.0.2.7', /outside the subnet/],
      ['no-address', 'ten.forty-two', /is not an IPv4 address/],
      ['taken', web1, /taken|belongs to the block/],
    ]
    for (const [name, address, problem] of requests) {
      await h2.managed({ name, args: ['--label', `io.rancher.container.requested_ip=${address}`] })
      const given = await addressOf(h2, name)
      t.match(given, /^10\.42\./, `${name}: an ordinary address`)
      t.not(given, address)
      t.match((await problemsOf(h2, name)).join(), problem)
    }
    await h2.managed({ name: 'pinned', args: ['--label', 'io.rancher.container.requested_ip=10.42.200.200'] })
    t.equal(await addressOf(h2, 'pinned'), '10.42.200.200', 'outside the own blocks')
    await until('the pinned one to be reached', async () =>
      (await reaches(h1, 'web1', '10.42.200.200')) ? true : undefined,
    )
    await h2.docker('rm', '-f', ...requests.map(([name]) => name), 'pinned')
    await allIsWell(t)
  })

  await t.test('the same container name on two hosts', async (t) => {
    const ids = await Promise.all([h1, h2].map((host) => host.managed({ name: 'twin' })))
    t.equal(ids.length, 2)
    const twins = await Promise.all([addressOf(h1, 'twin'), addressOf(h2, 'twin')])
    await until('both to be known everywhere', async () => {
      const views = (await h2.drover('ps')) as readonly ContainerView[]
      return views.filter(({ name, address }) => name === 'twin' && address !== null).length === 2
        ? true
        : undefined
    })
    await resolvesTo(h2, 'client', 'twin.rancher.internal', [
      ...new Set((await Promise.all([h1, h2].map(addressOfTwin))).flat()),
    ])
    const { problems } = (await h1.drover('status')) as StatusView
    t.match(problems.map(({ what }) => what).join('\n'), /container name twin is used on h1 and h2/)
    t.ok(twins.every((address) => address.startsWith('10.42.')))
    await Promise.all([h1, h2].map((host) => host.docker('rm', '-f', 'twin')))
  })

  await t.test('malformed datagrams and requests on every port', async (t) => {
    const noise = (bytes: number): string => `head -c ${bytes} /dev/urandom`
    const send = (host: LabHost, address: string, port: number, bytes: number): Promise<unknown> =>
      host.exec(['bash', '-c', `for i in $(seq 200); do ${noise(bytes)} > /dev/udp/${address}/${port}; done`])
    const underlay = h1.entry.underlay
    await Promise.all([
      send(h2, underlay, 51820, 148),
      send(h2, underlay, 51820, 64),
      send(h2, underlay, 51820, 1),
    ])
    await Promise.all([send(h1, '169.254.169.250', 53, 12), send(h1, '169.254.169.250', 53, 400)])
    await h1.exec(['bash', '-c', `for i in $(seq 50); do ${noise(300)} > /dev/tcp/169.254.169.250/80; done`])
    await h1.exec(['bash', '-c', `for i in $(seq 50); do ${noise(300)} > /dev/tcp/169.254.169.250/53; done`])
    await allIsWell(t)
    t.same(await resolve(h1, 'web1', web), [web1], 'its DNS answers')
    const page = await h1.inside('web1', 'wget', '-qO-', 'http://rancher-metadata/latest/self/container/name')
    t.equal(page.stdout.trim(), 'web1', 'its metadata answers')
  })

  await t.test('nobody sends from the address of another', async (t) => {
    const { stdout } = await h2.exec([
      'docker',
      'run',
      '--rm',
      '--name',
      'spoofer',
      '--label',
      'io.rancher.container.network=true',
      '--cap-add',
      'NET_ADMIN',
      lab.record.image,
      'sh',
      '-c',
      `while ! ip -4 addr show managed0 2>/dev/null | grep -q 10.42; do :; done; ip addr add 10.42.77.77/32 dev managed0; ping -c 2 -W 1 -I 10.42.77.77 ${web1}; ping -c 1 -W 2 ${web1}`,
    ])
    t.match(stdout, /2 packets transmitted, 0 packets received/, 'with a stolen address nothing passes')
    t.match(stdout, /1 packets transmitted, 1 packets received/, 'with its own everything does')
  })
})

const addressOfTwin = (host: LabHost): Promise<readonly string[]> =>
  host
    .drover('ps')
    .then((views) =>
      (views as readonly ContainerView[]).flatMap(({ name, address }) =>
        name === 'twin' && address !== null ? [address] : [],
      ),
    )
