/**
 * The main job on three hosts with etcd: containers find each other by name over the tunnel, read about
 * themselves, and none of it ends when a container, a daemon or a Docker engine does.
 */
import { test } from 'tap'
import { run, until } from '../../lab/command.ts'
import { image } from '../../lab/layout.ts'
import {
  addressOf,
  containersOf,
  labFor,
  labNeeds,
  Pinger,
  pidOf,
  reaches,
  resolve,
  resolvesTo,
  webServer,
} from '../support/lab.ts'

const name = 'web.shop.rancher.internal'
// Debian's busybox crashes on wget's own -T.
const wget = ['timeout', '10', 'wget', '-qO-']

test('the main job', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'job', hosts: 3, store: 'etcd' })
  const [h1, h2, h3] = [lab.host(1), lab.host(2), lab.host(3)]
  await Promise.all([
    h1.managed({ name: 'web1', stack: 'shop', service: 'web' }, webServer('web1')),
    h2.managed({ name: 'web2', stack: 'shop', service: 'web' }, webServer('web2')),
    h3.managed({ name: 'client', stack: 'shop', service: 'client' }),
  ])
  const [web1, web2, client] = await Promise.all([
    addressOf(h1, 'web1'),
    addressOf(h2, 'web2'),
    addressOf(h3, 'client'),
  ])

  await t.test('a name is answered with every container of the service', async (t) => {
    await resolvesTo(h3, 'client', name, [web1, web2])
    t.same(await resolve(h3, 'client', name), [web1, web2].sort())
    const short = await h3.inside('client', 'nslookup', name)
    t.equal(short.code, 0, 'also by the resolver that the container was given')
  })

  await t.test('wget by name answers from both in turn', async (t) => {
    await Promise.all([reaches(h3, 'client', web1), reaches(h3, 'client', web2)])
    const pages = new Set<string>()
    for (let count = 0; count < 20 && pages.size < 2; count++) {
      const { stdout } = await h3.inside('client', ...wget, `http://${name}`)
      pages.add(stdout.trim())
    }
    t.same([...pages].sort(), ['web1', 'web2'])
  })

  await t.test('metadata tells a container its own address', async (t) => {
    const read = async (host: typeof h1, container: string): Promise<string> => {
      const url = 'http://rancher-metadata/latest/self/container/primary_ip'
      return (await host.inside(container, ...wget, url)).stdout.trim()
    }
    t.equal(await read(h3, 'client'), client)
    t.equal(await read(h1, 'web1'), web1)
  })

  await t.test(
    'metadata knows who asks by the bridge of Docker, and on the network of the host',
    async (t) => {
      await h3.managed({ name: 'asker', stack: 'shop', service: 'asker' })
      await addressOf(h3, 'asker')
      await h3.docker('run', '-d', '--name', 'onhost', '--network', 'host', image, 'sleep', '86400')
      const self = async (container: string, key: string): Promise<string> => {
        const url = `http://169.254.169.250/latest/self/${key}`
        return (await h3.inside(container, ...wget, url)).stdout.trim()
      }
      const route = ['ip', 'route', 'replace', '169.254.169.250', 'via', '172.17.0.1', 'dev', 'eth0']
      await run(['nsenter', `--net=/proc/${await pidOf(h3, 'asker')}/ns/net`, ...route])
      t.equal(await self('asker', 'container/name'), 'asker')
      t.equal(await self('onhost', 'host/name'), 'h3')
      t.equal(await self('onhost', 'container/name'), '', 'which is no container')
      await h3.docker('rm', '-f', 'asker', 'onhost')
    },
  )

  await t.test('hosts reach containers, and containers hosts', async (t) => {
    const { managed } = h3.entry
    t.match(managed, /^10\.42\./)
    t.ok(await reaches(h1, 'web1', managed ?? ''), 'a container reaches another host')
    const { code } = await h3.exec(['ping', '-c', '1', '-W', '2', web1])
    t.equal(code, 0, 'a host reaches a container of another')
    t.equal((await h1.exec(['ping', '-c', '1', '-W', '2', web1])).code, 0, 'and its own')
  })

  await t.test('large packets pass', async (t) => {
    const { code, stdout } = await h3.inside('client', 'ping', '-c', '3', '-s', '8000', '-W', '2', web1)
    t.equal(code, 0, stdout)
  })

  await t.test('beside an unmanaged database on a network of Docker', async (t) => {
    await h3.docker('network', 'create', 'backend')
    await h3.docker('run', '-d', '--name', 'db', '--network', 'backend', image, ...webServer('db'))
    await h3.managed({ name: 'app', stack: 'shop', service: 'app', args: ['--network', 'backend'] })
    const app = await addressOf(h3, 'app')
    await resolvesTo(h1, 'web1', 'app.shop.rancher.internal', [app])
    const page = async (url: string): Promise<string> => (await h3.inside('app', ...wget, url)).stdout.trim()
    t.equal(await page('http://db'), 'db', "Docker's own name keeps resolving")
    t.match(await page(`http://${name}`), /^web[12]$/, 'and ours does as well')
    await h3.docker('rm', '-f', 'app', 'db')
  })

  await t.test('kill -9 of a daemon: nothing is lost, nothing is re-addressed', async (t) => {
    const before = await containersOf(h1)
    const pinger = await Pinger.start(await pidOf(h3, 'client'), web1)
    await h1.kill('daemon')
    const { replies } = pinger
    await until('replies without a daemon', () => (pinger.replies > replies + 10 ? true : undefined))
    await h1.start('daemon')
    await until('replies with the new daemon', () => (pinger.replies > replies + 40 ? true : undefined))
    const { sent, received } = await pinger.stop()
    // The last one may still be on its way when ping ends.
    t.ok(sent - received <= 1, `${received} of ${sent} pings were answered`)
    await until('the containers', async () => ((await containersOf(h1)).has('web1') ? true : undefined))
    t.same([...(await containersOf(h1))].sort(), [...before].sort())
    await resolvesTo(h1, 'web1', name, [web1, web2])
  })

  await t.test('a restart of the Docker engine', async (t) => {
    await h2.docker('update', '--restart=always', 'web2')
    await h2.restart('dockerd', 'SIGTERM')
    await until('web2', async () => {
      const { stdout } = await h2.exec(['docker', 'inspect', '-f', '{{.State.Running}}', 'web2'])
      return stdout.trim() === 'true' || undefined
    })
    t.ok(await reaches(h3, 'client', web2), 'it keeps its address, and traffic passes')
    await resolvesTo(h3, 'client', name, [web1, web2])
  })

  await t.test('etcd away: names and traffic go on', async (t) => {
    await lab.killMember(1)
    t.teardown(() => lab.startMember(1))
    t.same(await resolve(h3, 'client', name), [web1, web2].sort())
    t.ok(await reaches(h3, 'client', web1))
    await h3.managed({ name: 'late', stack: 'shop', service: 'late' })
    const late = await until('an address of late', async () => {
      const { stdout } = await h3.inside('late', 'ip', '-o', '-4', 'address', 'show', 'dev', 'managed0')
      return /inet ([\d.]+)/.exec(stdout)?.[1]
    })
    t.ok(await reaches(h3, 'late', client), 'a new container has an address, of a block that is owned')
    t.ok(await reaches(h1, 'web1', late), 'and is reached from other hosts')
  })

  await t.test('etcd back: what happened meanwhile is known everywhere', async (t) => {
    const late = await addressOf(h3, 'late')
    t.ok(await resolvesTo(h1, 'web1', 'late.shop.rancher.internal', [late]))
  })

  await t.test('a container that is removed', async (t) => {
    await resolvesTo(h3, 'client', name, [web1, web2])
    await h1.docker('rm', '-f', 'web1')
    const took = await resolvesTo(h3, 'client', name, [web2])
    t.comment(`gone from the other host's answers ${took} ms after \`docker rm -f\` returned`)
    const { stdout } = await run(['ip', '-n', h1.place.namespace, 'route', 'show', web1])
    t.equal(stdout, '', 'its route is gone')
  })
})
