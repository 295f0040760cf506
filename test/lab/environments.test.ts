/**
 * Two environments on the same hosts, the same engines and the same etcd, and a third one of the same subnet as the
 * first on a host of its own: each container reaches its own and nothing of the others, neither address nor name nor
 * metadata nor packet.
 */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { type Test, test } from 'tap'
import { run, until } from '../../lab/command.ts'
import { drover, writeConfig } from '../../lab/drover.ts'
import { addEnvironment, placeIn } from '../../lab/further.ts'
import type { LabHost } from '../../lab/host.ts'
import type { DoctorView } from '../../status/doctor.ts'
import {
  addressOf,
  Capture,
  containersOf,
  labFor,
  labNeeds,
  pidOf,
  reaches,
  resolve,
  resolvesTo,
} from '../support/lab.ts'

const shop = { name: 'shop', subnet: '10.43.0.0/16', shift: 1000 }
const far = { name: 'far', subnet: '10.42.0.0/16', domain: 'far.example', shift: 0 }
const server = '169.254.169.250'

/** A managed container of an environment; its address. */
async function start(host: LabHost, environment: string, name: string, service: string): Promise<string> {
  const args = environment === 'default' ? [] : ['--label', `drover.environment=${environment}`]
  await host.managed({ name, stack: 'app', service, args })
  return addressOf(host, name)
}

/** A command in a container's network, with the machine's own programs. */
async function within(host: LabHost, container: string, ...argv: readonly string[]) {
  const pid = await pidOf(host, container)
  return run(['nsenter', `--net=/proc/${pid}/ns/net`, ...argv])
}

const pings = async (host: LabHost, container: string, ...where: readonly string[]): Promise<boolean> =>
  (await within(host, container, 'ping', '-n', '-c', '2', '-i', '0.2', '-W', '1', ...where)).code === 0

const metadata = async (host: LabHost, container: string, path: string, port = 80): Promise<string> =>
  (await within(host, container, 'curl', '-s', '-m', '2', `http://${server}:${port}/latest/${path}`)).stdout

/** Whatever a device of a host carries that matches, from now on. */
async function watch(t: Test, host: LabHost, device: string, filter: string): Promise<readonly string[]> {
  const argv = [
    `--net=/run/netns/${host.place.namespace}`,
    'tcpdump',
    '-i',
    device,
    '-nn',
    '-l',
    '-U',
    filter,
  ]
  const child = spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => void child.kill('SIGINT'))
  const lines: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  await new Promise<void>((listening, failed) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (line.includes('listening on')) listening()
    })
    child.once('exit', () => failed(new TypeError('tcpdump ended')))
  })
  return lines
}

const tunnelOf = async (host: LabHost): Promise<string> =>
  ((await host.drover('status')) as { readonly tunnel: { readonly interface: string } }).tunnel.interface

const findings = async (host: LabHost): Promise<string> =>
  ((await host.drover('doctor')) as DoctorView).findings.map(({ what }) => what).join('\n')

test('several environments', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'envs', hosts: 2, store: 'etcd' })
  const [one1, one2] = [lab.host(1), lab.host(2)]

  await t.test('a subnet that another environment of the machine has is refused', async (t) => {
    const mistaken = { name: 'mistaken', subnet: '10.42.128.0/20', shift: 0 }
    const place = placeIn(one1.place, mistaken)
    writeConfig(place, 'auto', mistaken)
    const { code, stderr } = await run(drover(place, 'init', '--subnet', mistaken.subnet), {
      namespace: place.namespace,
    })
    t.equal(code, 2)
    t.match(
      stderr,
      /10\.42\.128\.0\/20 overlaps the environment default of this machine \(10\.42\.0\.0\/16\)/,
    )
  })

  const [two1, two2] = (await addEnvironment(lab, shop, [1, 2])) as [LabHost, LabHost]
  await lab.startEngine(await lab.addMachine())
  const [three] = (await addEnvironment(lab, far, [3])) as [LabHost]

  const a1 = await start(one1, 'default', 'a1', 'web')
  const a2 = await start(one2, 'default', 'a2', 'client')
  const b1 = await start(two1, 'shop', 'b1', 'client')
  const b2 = await start(two2, 'shop', 'b2', 'web')
  const c1 = await start(three, 'far', 'c1', 'web')
  const name = 'web.app.rancher.internal'

  await t.test('each reaches its own, on both hosts', async (t) => {
    t.ok(await reaches(one2, 'a2', a1))
    t.ok(await reaches(two1, 'b1', b2))
    await resolvesTo(one2, 'a2', name, [a1])
    await resolvesTo(two1, 'b1', name, [b2])
    t.equal(c1, a1, 'the same address in two environments of one subnet')
    for (const [host, container, address] of [
      [one1, 'a1', a1],
      [one2, 'a2', a2],
      [two1, 'b1', b1],
      [two2, 'b2', b2],
      [three, 'c1', c1],
    ] as const)
      t.equal(await metadata(host, container, 'self/container/primary_ip'), address, container)
  })

  await t.test('nobody lists the others', async (t) => {
    const names = async (host: LabHost): Promise<readonly string[]> =>
      [...(await containersOf(host)).keys()].sort()
    t.same(await names(one1), ['a1', 'a2'])
    t.same(await names(two2), ['b1', 'b2'])
    t.same(await names(three), ['c1'])
    const listed = async (host: LabHost, container: string): Promise<string> =>
      (await metadata(host, container, 'containers'))
        .replaceAll(/\d+=/g, '')
        .trim()
        .split('\n')
        .sort()
        .join(' ')
    t.equal(await listed(one2, 'a2'), 'a1 a2')
    t.equal(await listed(two2, 'b2'), 'b1 b2')
    t.equal(await listed(three, 'c1'), 'c1')
    t.same(await resolve(one1, 'a1', 'b2.rancher.internal'), [])
    t.same(await resolve(two1, 'b1', 'a1.rancher.internal'), [])
    t.same(await resolve(three, 'c1', 'a2.far.example'), [])
  })

  await t.test('an environment may have a domain of its own', async (t) => {
    await resolvesTo(three, 'c1', 'web.app.far.example', [c1])
    t.same(await resolve(three, 'c1', name), [], 'and then that of others is nothing to it')
    t.match((await three.inside('c1', 'cat', '/etc/resolv.conf')).stdout, /^search .*far\.example/m)
    const short = await three.inside('c1', 'ping', '-c', '1', '-W', '2', 'web.app')
    t.match(short.stdout, `PING web.app (${c1})`)
    const self = c1.split('.').toReversed().join('.')
    t.match(
      (await three.inside('c1', 'nslookup', '-type=ptr', `${self}.in-addr.arpa`)).stdout,
      /name = c1\.far\.example/,
    )
  })

  const [tunnelA, tunnelB] = await Promise.all([tunnelOf(one1), tunnelOf(two1)])
  t.not(tunnelA, tunnelB)

  await t.test('no packet gets across, from its own address or from another', async (t) => {
    const onB = await watch(t, two1, tunnelB, 'net 10.42.0.0/16')
    const onA = await watch(t, one1, tunnelA, 'net 10.43.0.0/16')
    const carried = await watch(t, two1, tunnelB, 'net 10.43.0.0/16')
    const underlay = await Capture.start(lab, 'net 10.42.0.0/15')
    t.teardown(() => underlay.stop())
    const ways = [
      ['via', '169.254.1.1', 'dev', 'managed0', 'onlink'],
      ['via', '172.17.0.1', 'dev', 'eth0'],
    ]
    for (const way of ways) {
      await within(one1, 'a1', 'ip', 'route', 'replace', '10.43.0.0/16', ...way)
      await within(two1, 'b1', 'ip', 'route', 'replace', '10.42.0.0/16', ...way)
      for (const to of [b1, b2, two1.entry.managed ?? '', two2.entry.managed ?? ''])
        t.notOk(await pings(one1, 'a1', to), `a1 to ${to} ${way.join(' ')}`)
      for (const to of [a1, a2, one1.entry.managed ?? '', one2.entry.managed ?? ''])
        t.notOk(await pings(two1, 'b1', to), `b1 to ${to} ${way.join(' ')}`)
    }
    // As a container of the other environment, and as one that is nobody's.
    for (const source of ['10.42.0.99', '10.43.0.99']) {
      await within(two1, 'b1', 'ip', 'addr', 'add', `${source}/32`, 'dev', 'lo')
      for (const to of [a1, a2, b2]) t.notOk(await pings(two1, 'b1', '-I', source, to), `${source} to ${to}`)
    }
    t.ok(await pings(two1, 'b1', b2), 'and it still reaches its own')
    t.same([...onA, ...onB, ...underlay.lines], [])
    t.ok(await pings(one1, 'a1', a2))
    await until('the watched tunnel to be the one that carries it', () => carried.length > 0 || undefined)
  })

  await t.test('the servers of the other are shut, by port, by bridge and by name', async (t) => {
    const asked = async (host: LabHost, container: string, port: number, ...flags: readonly string[]) =>
      (
        await within(
          host,
          container,
          'dig',
          '+short',
          '+time=1',
          '+tries=1',
          '-p',
          String(port),
          ...flags,
          `@${server}`,
          name,
        )
      ).stdout
    const answer = (text: string): string =>
      text
        .split('\n')
        .filter((line) => /^\d/.test(line))
        .join()
    t.equal(answer(await asked(one1, 'a1', 10053)), a1)
    t.equal(answer(await asked(one1, 'a1', 11053)), '')
    t.equal(answer(await asked(two1, 'b1', 11053)), b2)
    t.equal(answer(await asked(two1, 'b1', 10053)), '')
    t.equal(answer(await asked(two1, 'b1', 10053, '+tcp')), '')
    t.equal(await metadata(two1, 'b1', 'containers', 10080), '')
    t.equal(await metadata(one1, 'a1', 'containers', 11080), '')
    // By the engine's bridge instead of the veth.
    for (const [host, container] of [
      [one1, 'a1'],
      [two1, 'b1'],
    ] as const)
      await within(host, container, 'ip', 'route', 'replace', server, 'via', '172.17.0.1', 'dev', 'eth0')
    t.equal(answer(await asked(one1, 'a1', 53)), a1)
    t.equal(
      answer(await asked(two1, 'b1', 53)),
      '',
      'its bridge address is known to be of another environment',
    )
    t.equal(await metadata(two1, 'b1', 'containers'), '')
    t.equal(await metadata(two1, 'b1', 'containers', 10080), '')
  })

  await t.test('unmanaged containers ask the environment of their label', async (t) => {
    await one1.docker('run', '-d', '--name', 'plain', lab.record.image, 'sleep', '86400')
    const label = 'drover.environment=shop'
    await one1.docker('run', '-d', '--name', 'guest', '--label', label, lab.record.image, 'sleep', '86400')
    await until('the guest to be answered', async () =>
      (await resolve(one1, 'guest', name)).join() === b2 ? true : undefined,
    )
    t.same(await resolve(one1, 'plain', name), [a1])
  })

  await t.test('one is stopped, restarted and gone, and the other does not notice', async (t) => {
    t.match(await findings(one1), /^no upstream resolver is known[^\n]*$/)
    t.match(await findings(two2), /^no upstream resolver is known[^\n]*$/)
    await two1.kill('daemon', 'SIGTERM')
    t.ok(await pings(one1, 'a1', a2))
    t.ok(await pings(two1, 'b1', b2), 'what is attached stays attached')
    await two1.must(drover(two1.place, 'daemon', '--leave'))
    t.ok(await pings(one1, 'a1', a2))
    t.same(await resolve(one2, 'a2', name), [a1])
    t.equal(await metadata(one2, 'a2', 'self/container/primary_ip'), a2)
    const { stdout } = await one1.exec(['nft', 'list', 'tables'])
    t.match(stdout, 'drover_default')
    t.notMatch(stdout, 'drover_shop')
    t.notMatch((await one1.exec(['ip', 'addr'])).stdout, '10.43.')
  })
})
