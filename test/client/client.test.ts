/**
 * The typed client: on a real metadata service, on one that behaves as the original, and on servers in trouble.
 */
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Test, test } from 'tap'
import { type Container, MetadataClient, MetadataError, type Service } from '../../client/client.ts'
import { heldValue } from '../../client/poll.ts'
import { delayBefore } from '../../client/retry.ts'
import { startMetadata } from '../../metadata/thread.ts'
import type { Environment } from '../../model/environment.ts'
import { metadataOf, shopOf, show, usual } from '../support/metadata.ts'
import { until } from '../support/netns.ts'
import { MemoryLog, MemoryMeter } from '../support/ports.ts'
import { RancherServer } from '../support/rancher-server.ts'
import { containerRecordOf } from '../support/snapshots.ts'

const shop = shopOf()

/** The shop with the first container in another state. */
function shopWith(revision: number, state: 'running' | 'exited'): Environment {
  const [first, ...others] = [...shop.containers.values()]
  if (first === undefined) throw new TypeError('no container')
  const containers = [{ ...first, state }, ...others].map((record) => [record.id, record] as const)
  return { ...shop, revision, containers: new Map(containers) }
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return error instanceof MetadataError ? error.code : String(error)
}

/** The next value of a watch; fails the test where it has ended. */
async function next<T>(watch: AsyncGenerator<T, void>): Promise<T> {
  const { value, done } = await watch.next()
  if (done === true) throw new TypeError('the watch has ended')
  return value as T
}

test('values with their types', async (t) => {
  const { url } = await metadataOf(t, shop)
  const metadata = new MetadataClient({ url: `${url}/` })
  const name: string = await metadata.get('/services/web/containers/0/name')
  t.equal(name, 'shop-web-1')
  const address: string | null = await metadata.get('/services/web/containers/shop-web-2/primary_ip')
  t.equal(address, '127.0.0.12')
  const services: readonly Service[] = await metadata.get('/stacks/shop/services')
  t.strictSame(
    services.map((service) => service.name),
    ['log', 'web', 'db', 'mail', 'shopfront'],
  )
  const level: unknown = await metadata.get('/services/web/metadata/level')
  t.equal(level, 3)
  const label: string = await metadata.get('/containers/shop-web-1/labels/com.example.tier')
  t.equal(label, 'front')
  const scale: number = await metadata.get('/services/web/scale')
  t.equal(scale, 2)
  t.equal(await metadata.get('/region_name'), null)
  const host = await metadata.get('/self/host')
  t.equal(host.agent_ip, '192.0.2.1')
  const older = new MetadataClient({ url, version: '2015-12-19' })
  t.equal(await older.get('/services/Web/containers/0/name'), 'Shop-Web-1')
  t.equal(await metadata.get(`/containers/${encodeURIComponent('alone')}/state`), 'stopped')
})

test('what is not there', async (t) => {
  const { url } = await metadataOf(t, shop)
  const metadata = new MetadataClient({ url })
  t.equal(await metadata.find('/self/container'), undefined, 'the host is no container')
  t.equal(await codeOf(metadata.get('/containers/nobody')), 'NOT_FOUND')
  const nobody: Container | undefined = await metadata.find('/containers/nobody')
  t.equal(nobody, undefined)
})

test('a service that has nothing to show yet is asked again', async (t) => {
  const { url, metadata: service } = await metadataOf(t, null)
  const impatient = new MetadataClient({ url, version: '2016-07-29', retries: 0 })
  t.equal(await codeOf(impatient.get('/version')), 'NOT_READY')
  let retried = 0
  const onRetry = (error: MetadataError): void => {
    retried += 1
    t.equal(error.code, 'NOT_READY')
    if (retried === 1) service.apply(shop)
  }
  const metadata = new MetadataClient({ url, version: '2016-07-29', onRetry })
  t.equal(await metadata.get('/containers/1/name'), 'shop-web-1')
  t.ok(retried >= 1)
})

test('a watch yields what changes, when it changes', async (t) => {
  const { url, metadata: service } = await metadataOf(t, shop)
  const metadata = new MetadataClient({ url })
  const isWaiting = async (polls: number): Promise<boolean> => (await service.stats())?.waiting === polls
  const end = new AbortController()
  const options = { signal: end.signal }
  const state = metadata.watch('/containers/shop-web-1/state', options)
  const containers = metadata.watch('/containers', options)
  const hosts = metadata.watch('/hosts', options)
  const region = metadata.watch('/region_name', options)
  t.equal(await next(state), 'running')
  t.equal((await next(containers)).length, 5)
  t.equal((await next(hosts)).length, 2)
  t.equal(await next(region), null)
  const [later, all, silent, none] = [next(state), next(containers), next(hosts), next(region)]
  for (const promise of [silent, none]) promise.catch(() => undefined)
  await until('all four wait', () => isWaiting(4))
  await show(service, shopWith(2, 'exited'))
  t.equal(await later, 'stopped')
  t.equal((await all).find(({ name }) => name === 'shop-web-1')?.state, 'stopped')
  await until('hosts and region go on waiting', () => isWaiting(2))
  end.abort(new TypeError('enough'))
  await t.rejects(silent, { message: 'enough' })
  await t.rejects(none, { message: 'enough' })
  await until('nobody waits any more', () => isWaiting(0))
})

test('when: a container that is not there yet; break ends a watch', async (t) => {
  const { url, metadata: service } = await metadataOf(t, shop)
  const metadata = new MetadataClient({ url })
  const coming = metadata.when('/containers/later/primary_ip')
  await until('it waits', async () => (await service.stats())?.waiting === 1)
  const later = containerRecordOf(9, { name: 'later' })
  service.apply({ ...shop, revision: 2, containers: new Map([...shop.containers, [later.id, later]]) })
  t.equal(await coming, '10.42.0.19')
  for await (const version of metadata.watch('/version')) {
    t.type(version, 'string')
    break
  }
  t.equal((await service.stats())?.waiting, 0)
})

test('a watch outlives the service', async (t) => {
  const ports = { log: new MemoryLog(), meter: new MemoryMeter() }
  const first = await startMetadata(ports, { ...usual, address: '127.0.0.1', port: 0 })
  const { port } = first
  await show(first, shop)
  const restarted = Promise.withResolvers<void>()
  const onRetry = (error: MetadataError): void => {
    t.ok(error.temporary, error.message)
    restarted.resolve()
  }
  const metadata = new MetadataClient({ url: `http://127.0.0.1:${port}`, onRetry })
  const state = metadata.watch('/containers/shop-web-1/state')
  t.equal(await next(state), 'running')
  const later = next(state)
  await until('it waits', async () => (await first.stats())?.waiting === 1)
  await first.close()
  await restarted.promise
  const second = await startMetadata(ports, { ...usual, address: '127.0.0.1', port })
  t.teardown(() => second.close())
  second.apply(shopWith(2, 'exited'))
  t.equal(await later, 'stopped')
  await state.return()
})

test('the original', async (t) => {
  const rancher = await RancherServer.start(t)
  const { url } = rancher
  const metadata = new MetadataClient({ url })
  const early = metadata.get('/self/container/name')
  rancher.reload('one')
  t.equal(await early, 'shop-web-1')
  for (const version of ['2016-07-29', '2015-12-19'] as const) {
    const client = new MetadataClient({ url, version })
    const container = await client.get('/self/container')
    t.equal(container.primary_ip, '10.42.0.11')
    t.equal(container.service_index, '1')
    t.equal((await client.get('/self/stack')).services.length, 3)
    t.equal(
      (await client.get('/services')).find(({ health_check: check }) => check !== null)?.health_check?.port,
      8080,
    )
    t.equal(await client.get('/self/service/metadata/k/n'), 1.5)
    t.equal(await client.find('/self/nobody'), undefined)
  }
  const versions = metadata.watch('/version')
  const hosts = metadata.watch('/hosts')
  t.equal(await next(versions), 'one')
  t.equal((await next(hosts)).length, 2)
  const [version, fewer] = [next(versions), next(hosts)]
  rancher.reload('two')
  t.equal(await version, 'two')
  rancher.reload('three', { hosts: [] })
  t.strictSame(await fewer, [], 'a reload that changed nothing was not seen')
  t.equal(await next(versions), 'three')
  await versions.return()
  await hosts.return()
})

async function server(t: Test, listener: RequestListener): Promise<string> {
  const http = createServer(listener)
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    http.close()
    http.closeAllConnections()
  })
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`
}

test('trouble', async (t) => {
  const answers: RequestListener[] = [
    (_, response) => response.writeHead(503).end('busy'),
    (_, response) => response.destroy(),
    (_, response) => response.writeHead(429).end(),
    (_, response) => response.end('"there"'),
  ]
  const url = await server(t, (request, response) => answers.shift()?.(request, response))
  const codes: string[] = []
  const onRetry = ({ code }: MetadataError, delay: number): void => {
    codes.push(code)
    t.ok(delay >= 100 && delay <= 10_000)
  }
  t.equal(await new MetadataClient({ url, onRetry }).get('/name'), 'there')
  t.strictSame(codes, ['BUSY', 'UNREACHABLE', 'BUSY'])

  const page = await server(t, (_, response) => response.writeHead(404).end('<html>'))
  t.equal(await codeOf(new MetadataClient({ url: page }).find('/name')), 'UNEXPECTED')
  const silent = await server(t, () => undefined)
  t.equal(await codeOf(new MetadataClient({ url: silent, timeout: 50, retries: 1 }).get('/name')), 'TIMEOUT')
  const nobody = await server(t, () => undefined).then((taken) => taken.replace(/\d+$/, '1'))
  t.equal(await codeOf(new MetadataClient({ url: nobody, retries: 0 }).get('/name')), 'UNREACHABLE')
  const end = new AbortController()
  const ended = new MetadataClient({ url: nobody, onRetry: () => end.abort() }).get('/name', {
    signal: end.signal,
  })
  await t.rejects(ended, { name: 'AbortError' }, 'also between two tries')
})

test('what is held, and when to try again', async (t) => {
  const held = (value: unknown, etag: string | null = '"e"') => heldValue({ value, etag })
  t.equal(held(undefined), '')
  t.equal(held('a b'), 'a b')
  t.equal(held(7), '7')
  t.equal(held(true), 'true')
  t.equal(held({}), '"e"')
  t.equal(held([], null), undefined)
  t.equal(held(null), undefined)
  t.equal(held(1.5), undefined)
  for (const random of [0, 0.5, 0.999]) {
    const delays = Array.from({ length: 30 }, (_, at) => delayBefore(at + 1, random))
    t.strictSame(
      delays,
      delays.toSorted((one, other) => one - other),
    )
    t.ok(delays.every((delay) => delay >= 100 && delay <= 10_000))
  }
})
