/**
 * Notifications as systemd would receive them, on a socket that Python's standard library makes, since Node
 * cannot open unix datagram sockets.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'tap'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { SystemdNotifier } from '../../linux/notify.ts'
import { extraPackages, missingPackages } from '../../setup/packages.mjs'

const listener = `
import socket, sys
name = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind('\\0' + name[1:] if name.startswith('@') else name)
print('bound', flush=True)
for _ in range(2): print(repr(s.recv(512).decode()), flush=True)
`

const needs = missingPackages(extraPackages).includes('python3-minimal') ? { skip: 'needs python3' } : {}

for (const kind of ['path', 'abstract']) {
  test(`tells systemd, ${kind} socket`, needs, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'notify-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    const name = kind === 'path' ? join(folder, 's') : `@drover-notify-${process.pid}`
    const python = spawn('python3', ['-c', listener, name])
    t.teardown(() => python.kill())
    const lines = createInterface({ input: python.stdout })[Symbol.asyncIterator]()
    t.equal((await lines.next()).value, 'bound')
    const notifier = new SystemdNotifier(new Libc(makeArena(4096)), name)
    t.teardown(() => notifier.close())
    notifier.tell('READY=1\nSTATUS=up')
    notifier.tell('WATCHDOG=1')
    t.equal((await lines.next()).value, "'READY=1\\nSTATUS=up'")
    t.equal((await lines.next()).value, "'WATCHDOG=1'")
  })
}
