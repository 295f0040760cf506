/**
 * A real metadata thread on loopback for tests, and an environment that has one of everything. Addresses of
 * 127.0.0.0/8 stand for containers.
 */
import { request } from 'node:http'
import type { Test } from 'tap'
import type { WorkerOptions } from '../../metadata/messages.ts'
import { type Metadata, startMetadata } from '../../metadata/thread.ts'
import type { Environment } from '../../model/environment.ts'
import { MemoryLog, MemoryMeter } from './ports.ts'
import { containerRecordOf, declaredOf, environmentOf, hostIdOf, ip } from './snapshots.ts'

/** Two services, one with a sidekick, an external service, an alias, and a container outside of all. */
export function shopOf(given: { readonly revision?: number } = {}): Environment {
  const web = { stack: 'Shop', service: 'Web', image: 'nginx', exposed: ['80/tcp', '443/tcp'] }
  const containers = [
    containerRecordOf(1, {
      ...web,
      name: 'Shop-Web-1',
      address: ip('127.0.0.11'),
      ports: ['8080:80/tcp', '192.0.2.9:8443:443/tcp'],
      labels: { 'com.example.tier': 'front', 'prometheus.io/scrape': 'true' },
      health: 'healthy',
      dns: ['169.254.169.250'],
      dnsSearch: ['web.shop.rancher.internal'],
    }),
    containerRecordOf(2, {
      ...web,
      name: 'Shop-Web-2',
      address: ip('127.0.0.12'),
      index: 2,
      host: hostIdOf(2),
    }),
    containerRecordOf(3, {
      ...web,
      sidekick: 'Log',
      name: 'Shop-Web-Log-1',
      address: ip('127.0.0.13'),
      links: { web: 'Shop-Web-1' },
    }),
    containerRecordOf(4, {
      stack: 'Shop',
      service: 'db',
      name: 'shop-db-1',
      address: ip('127.0.0.14'),
      exposed: ['5432/tcp'],
    }),
    containerRecordOf(5, { name: 'alone', address: null, state: 'exited' }),
  ]
  const services = [
    declaredOf({
      stack: 'Shop',
      name: 'Web',
      links: { 'Shop/db': 'Store' },
      metadata: { level: 3, deep: { list: [1, 'two'] } },
    }),
    declaredOf({ stack: 'Shop', name: 'mail', kind: 'externalService', externalIps: ['192.0.2.77'] }),
    declaredOf({ stack: 'Shop', name: 'shopfront', kind: 'dnsService', targets: ['Shop/Web'] }),
  ]
  return environmentOf({ ...given, containers, services })
}

export interface Answered {
  readonly status: number
  readonly type: string | undefined
  readonly text: string
}

/** What the daemon's configuration says where it says nothing. */
export const usual = { connections: 256, trustedProxies: [], scope: 'environment' } as const

/** A service that shows an environment, and a JSON client of it at the first container's address. */
export async function metadataOf(
  t: Test,
  environment: Environment | null,
  options: Omit<WorkerOptions, 'address' | 'port'> = usual,
) {
  const ports = { log: new MemoryLog(), meter: new MemoryMeter() }
  const metadata = await startMetadata(ports, { ...options, address: '127.0.0.1', port: 0 })
  t.teardown(() => metadata.close())
  if (environment !== null) await show(metadata, environment)
  const { port } = metadata
  const ask = (path: string, from = '127.0.0.11'): Promise<Answered> => askJson(port, path, from)
  return { metadata, port, ask, url: `http://127.0.0.1:${port}` }
}

/** Messages keep their order, so statistics asked for afterwards know the snapshot. */
export async function show(metadata: Metadata, environment: Environment): Promise<void> {
  metadata.apply(environment)
  await metadata.stats()
}

function askJson(port: number, path: string, localAddress: string): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const headers = { Accept: 'application/json' }
    const asking = request({ host: '127.0.0.1', port, path, localAddress, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'], text })
      })
    })
    asking.on('error', reject)
    asking.end()
  })
}
