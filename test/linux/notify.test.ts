/**
 * Notifications as systemd would receive them, on a socket that Python's standard library makes, since Node
 * cannot open unix datagram sockets.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
    await once(python.stdout, 'data')
    let heard = ''
    python.stdout.on('data', (chunk: Buffer) => {
      heard += chunk
    })
    const notifier = new SystemdNotifier(new Libc(makeArena(4096)), name)
    t.teardown(() => notifier.close())
    notifier.tell('READY=1\nSTATUS=up')
    notifier.tell('WATCHDOG=1')
    await once(python, 'close')
    t.equal(heard, "'READY=1\\nSTATUS=up'\n'WATCHDOG=1'\n")
  })
}
