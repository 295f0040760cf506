/**
 * A project of Docker Compose on one host with the embedded store: its managed service and its unmanaged
 * database find each other by the names that Compose gives, and by ours.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { image } from '../../lab/layout.ts'
import { extraPackages, missingPackages } from '../../setup/packages.mjs'
import type { ContainerView } from '../../status/status.ts'
import { addressOf, labFor, labNeeds, resolvesTo, webServer } from '../support/lab.ts'

const project = {
  version: '2.4',
  services: {
    web: { image, command: webServer('web'), labels: { 'io.rancher.container.network': 'true' }, scale: 2 },
    db: { image, command: webServer('db') },
  },
}

const needs = missingPackages(extraPackages).includes('docker-compose')
  ? { skip: 'needs docker-compose' }
  : labNeeds()

test('a project of Compose', needs, async (t) => {
  const lab = await labFor(t, { what: 'compose', hosts: 1, store: 'embedded' })
  const host = lab.host(1)
  const folder = join(t.testdir(), 'shop')
  mkdirSync(folder)
  writeFileSync(join(folder, 'docker-compose.yml'), JSON.stringify(project))
  const compose = (...args: readonly string[]): Promise<string> =>
    host.must([
      'env',
      'COMPOSE_API_VERSION=auto',
      'docker-compose',
      '--project-directory',
      folder,
      '-f',
      join(folder, 'docker-compose.yml'),
      ...args,
    ])
  const page = async (container: string, url: string): Promise<string> =>
    (await host.inside(container, 'timeout', '10', 'wget', '-qO-', url)).stdout.trim()

  await compose('up', '-d')
  const addresses = await Promise.all(['shop_web_1', 'shop_web_2'].map((name) => addressOf(host, name)))
  await resolvesTo(host, 'shop_web_1', 'web.shop.rancher.internal', addresses)
  t.equal(await page('shop_web_1', 'http://db'), 'db', 'a managed container finds the unmanaged one')
  t.equal(await page('shop_db_1', 'http://web'), 'web', 'and the other way, by Docker itself')
  t.equal(await page('shop_web_2', 'http://web.shop.rancher.internal'), 'web')
  t.equal(
    await page('shop_web_2', 'http://rancher-metadata/latest/self/container/service_index'),
    '2',
    "Compose's number",
  )

  const before = new Map(
    ((await host.drover('ps')) as readonly ContainerView[]).map(({ name, address }) => [name, address]),
  )
  await compose('restart', 'web')
  await resolvesTo(host, 'shop_web_1', 'web.shop.rancher.internal', addresses)
  t.equal(await page('shop_web_1', 'http://db'), 'db', 'also after a restart, which writes resolv.conf anew')
  const after = new Map(
    ((await host.drover('ps')) as readonly ContainerView[]).map(({ name, address }) => [name, address]),
  )
  t.same(after, before, 'a restart keeps the addresses')
  await compose('down', '-t', '1')
})
