/**
 * A file that a user declares services with: names and metadata on both hosts, from whichever host it was declared;
 * names of links for their own containers alone; and what the removed host had declared lives on.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { until } from '../../lab/command.ts'
import { drover } from '../../lab/drover.ts'
import type { LabHost } from '../../lab/host.ts'
import { addressOf, labFor, labNeeds, resolvesTo } from '../support/lab.ts'

const text = `services:
  shop/db: { addresses: [203.0.113.7, 203.0.113.8] }
  shop/mail: { hostname: mail.example.org }
  shop/backend: { alias: [web, db] }
  shop/web:
    links: { db: database }
    metadata: { greeting: hello }
    health_check: { port: 8080 }
`

async function metadataIs(host: LabHost, container: string, path: string, wanted: string): Promise<void> {
  const url = `http://169.254.169.250/latest/${path}`
  let last = ''
  await until(
    `${path} to be ${wanted}`,
    async () => {
      last = (await host.inside(container, 'wget', '-qO-', url)).stdout
      return last === wanted ? true : undefined
    },
    { blame: () => `; it is ${last}` },
  )
}

test('drover service set', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'services', hosts: 2, store: 'etcd' })
  const [h1, h2] = [lab.host(1), lab.host(2)]
  await Promise.all([
    h1.managed({ name: 'client', stack: 'shop', service: 'client' }),
    h2.managed({ name: 'web', stack: 'shop', service: 'web' }),
  ])
  const web = await addressOf(h2, 'web')
  const file = join(h2.place.folder, 'services.yaml')
  writeFileSync(file, text)
  const set = await h2.exec(drover(h2.place, 'service', 'set', '-f', file))
  t.equal(set.code, 0, set.stderr)
  t.equal(set.stdout, 'declared shop/db, shop/mail, shop/backend, shop/web\n')

  const external = ['203.0.113.7', '203.0.113.8']
  for (const [host, container] of [
    [h1, 'client'],
    [h2, 'web'],
  ] as const) {
    await resolvesTo(host, container, 'db.shop.rancher.internal', external)
    await resolvesTo(host, container, 'backend.shop.rancher.internal', [web, ...external])
    const { stdout } = await host.inside(container, 'nslookup', '-type=cname', 'mail.shop.rancher.internal')
    t.match(stdout, /mail\.example\.org/, 'a host name is a CNAME')
    await metadataIs(host, container, 'services/web/metadata/greeting', 'hello')
    await metadataIs(host, container, 'services/db/external_ips/1', '203.0.113.8')
    await metadataIs(host, container, 'services/web/health_check/port', '8080')
  }
  await resolvesTo(h2, 'web', 'database.rancher.internal', external)
  await resolvesTo(h1, 'client', 'database.rancher.internal', [])

  writeFileSync(file, 'services:\n  shop/db:\n    adresses: [203.0.113.9]\n')
  t.match(await h1.exec(drover(h1.place, 'service', 'set', '-f', file)), {
    code: 2,
    stderr: /services\.yaml:3: unknown key `services\.shop\/db\.adresses`, did you mean `addresses`\?/,
  })
  writeFileSync(file, 'services: { shop/db: { addresses: [203.0.113.9] } }')
  t.equal((await h1.exec(drover(h1.place, 'service', 'set', '-f', file))).code, 0)
  await resolvesTo(h2, 'web', 'db.shop.rancher.internal', ['203.0.113.9'])
  t.equal((await h2.exec(drover(h2.place, 'service', 'rm', 'shop/db'))).code, 0)
  await resolvesTo(h1, 'client', 'db.shop.rancher.internal', [])

  await h2.restart('daemon')
  t.match(await h2.drover('service', 'ls'), [
    { name: 'shop/backend', kind: 'dnsService', host: 'h2' },
    { name: 'shop/mail', kind: 'externalService', host: 'h2' },
    { name: 'shop/web', kind: 'service', host: 'h2' },
  ])
  const removed = await h1.exec(drover(h1.place, 'host', 'rm', 'h2'))
  t.equal(removed.code, 0, removed.stderr)
  await until('h1 to have taken over what h2 had declared', async () => {
    const services = (await h1.drover('service', 'ls')) as readonly { readonly host: string | null }[]
    return services.length === 3 && services.every(({ host }) => host === 'h1') ? true : undefined
  })
  await metadataIs(h1, 'client', 'services/web/metadata/greeting', 'hello')
})
