/**
 * A daemon that was killed: the next one answers names of what the killed one left, before it knows anything itself.
 */
import { join } from 'node:path'
import { test } from 'tap'
import { readZoneFile } from '../../dns/zone-file.ts'
import { loneHost } from '../support/lone-daemon.ts'
import { needsRoot, until } from '../support/netns.ts'

const name = 'alone.hosts.rancher.internal'
const address = '10.42.0.1'

test('names are answered of what a killed daemon left', { ...needsRoot, timeout: 180_000 }, async (t) => {
  const host = await loneHost(t, 'early')
  const asked = async (): Promise<string> => {
    const dig = ['dig', '+short', '+time=1', '+tries=1', '@169.254.169.250', '-p', '10053', name, 'A']
    return (await host.space.runner.attempt(dig)).stdout.trim()
  }
  const answered = () => until(`${name} is ${address}`, async () => (await asked()) === address, 100_000)
  const first = host.start()
  await first.says('listening')
  await answered()
  const file = join(host.run, 'dns.zone')
  t.not(readZoneFile(file).length, 0)
  first.child.kill('SIGKILL')
  await first.ended
  t.match(await asked(), 'connection refused')

  // Its store never answers, and it has no snapshot of it: all that it can know of names is in the file.
  const next = host.start(['--store-url', 'etcd://127.0.0.1:1'])
  await answered()
  await next.says('the Docker engine is away')
  t.equal(await asked(), address, 'as long as it knows nothing better')
  next.child.kill('SIGKILL')
  await next.ended

  // What is wrong with the configuration is found before anything is answered.
  const wrong = host.start(['--dns-search', 'perhaps'])
  t.equal(await wrong.ended, 2)
  t.match(wrong.log, /dns\.search/)
})
