/**
 * What /proc says of ports and of those who hold them, on the real one.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { Proc } from '../../linux/proc.ts'
import { boundSockets } from '../../linux/sockets.ts'

const proc = new Proc()

test('a port that is taken, and by whom', async (t) => {
  const udp = createSocket('udp4')
  udp.bind(0, '127.0.0.3')
  const tcp = createServer().listen(0, '127.0.0.4')
  await Promise.all([once(udp, 'listening'), once(tcp, 'listening')])
  t.teardown(() => {
    udp.close()
    tcp.close()
  })
  const place = tcp.address()
  const ports = { udp: udp.address().port, tcp: typeof place === 'object' ? (place?.port ?? 0) : 0 }
  const processes = proc.processes()
  for (const [protocol, address] of [
    ['udp', '127.0.0.3'],
    ['tcp', '127.0.0.4'],
  ] as const) {
    const bound = boundSockets(protocol, proc.text(`/proc/net/${protocol}`) ?? '')
    const own = bound.find((one) => one.port === ports[protocol] && one.address === address)
    t.ok(own, protocol)
    t.equal(proc.holderOf(own?.inode ?? 0, processes)?.pid, process.pid)
  }
  t.equal(proc.holderOf(1, processes), undefined)
})

test('a socket that talks to one peer takes no port from anybody', (t) => {
  const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:9C40 0200007F:0016 01 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 13 1
   3: B80D0120000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 14 1
`
  t.strictSame(boundSockets('tcp', text), [
    { protocol: 'tcp', port: 53, address: '127.0.0.1', inode: 11 },
    { protocol: 'tcp', port: 22, address: '0.0.0.0', inode: 13 },
    { protocol: 'tcp', port: 22, address: '', inode: 14 },
  ])
  t.strictSame(boundSockets('tcp', ''), [])
  t.end()
})

test('processes, programs and files', (t) => {
  const own = proc.processes().find(({ pid }) => pid === process.pid)
  t.ok(own?.argv.some((word) => word.endsWith('proc.test.ts')))
  t.ok((own?.memory ?? 0) > 10)
  t.ok(proc.hasProgram('sh'))
  t.notOk(proc.hasProgram('no-such-program'))
  t.equal(proc.text('/proc/no/such/file'), undefined)
  const folder = mkdtempSync(join(tmpdir(), 'dt-proc-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'open'), '', { mode: 0o644 })
  writeFileSync(join(folder, 'closed'), '', { mode: 0o600 })
  t.strictSame(
    ['open', 'closed', 'absent'].map((name) => proc.isOpen(join(folder, name))),
    [true, false, false],
  )
  t.ok(proc.freeSpace(folder) > 0)
  t.end()
})
