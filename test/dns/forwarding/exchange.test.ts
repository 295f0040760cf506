import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'tap'
import { needsRoot } from '../../support/netns.ts'

const asking = `
const { SocketExchange } = await import(${JSON.stringify(join(import.meta.dirname, '../../../dns/forwarding/exchange.ts'))})
for (const transport of ['udp', 'tcp']) {
  const how = { transport, read: () => undefined, signal: AbortSignal.timeout(5000) }
  const upstream = { address: '192.0.2.1', port: 53 }
  const outcome = await new SocketExchange().ask(upstream, new Uint8Array(12), how).catch((error) => error.code)
  console.log(transport, outcome)
}`

test('an upstream without a route is an error of that question, not of the thread', needsRoot, (t) => {
  const argv = ['--net', process.execPath, '--input-type=module', '-e', asking]
  const { stdout, stderr, status } = spawnSync('unshare', argv, { encoding: 'utf8' })
  t.equal(stdout, 'udp ENETUNREACH\ntcp ENETUNREACH\n', stderr)
  t.equal(status, 0)
  t.end()
})
