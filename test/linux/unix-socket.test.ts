/** A socket that listens as a descriptor of our own, served by Node on duplicates. */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { listenAt } from '../../linux/unix-socket.ts'

const folder = mkdtempSync(join(tmpdir(), 'unix-socket-'))
const libc = new Libc(makeArena(4096))

/** What a connection hears first. */
const heard = (path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    connect(path)
      .once('error', reject)
      .once('data', (chunk) => resolve(String(chunk)))
  })

/** A server on a duplicate that says its name. */
async function serve(fd: number, name: string) {
  const server = createServer((socket) => socket.end(name))
  await new Promise<void>((resolve) => server.listen({ fd: libc.dup(fd) }, resolve))
  return server
}

test('one server after the other serves it, and whoever connects in between waits', async (t) => {
  const path = join(folder, 'one.sock')
  const fd = listenAt(libc, path)
  t.ok(statSync(path).isSocket())
  const first = await serve(fd, 'first')
  t.equal(await heard(path), 'first')
  first.close()
  const waiting = heard(path)
  const second = await serve(fd, 'second')
  t.equal(await waiting, 'second')
  second.close()
  libc.close(fd)
  await t.rejects(heard(path), { code: 'ECONNREFUSED' }, 'nobody has it any more')
})

test('what cannot be had is said', async (t) => {
  const path = join(folder, 'two.sock')
  const fd = listenAt(libc, path)
  t.throws(() => listenAt(libc, path), { code: 'LISTEN_FAILED', fields: { errno: 98 } })
  t.throws(() => listenAt(libc, join(folder, 'x'.repeat(108))), { code: 'LISTEN_FAILED' })
  libc.close(fd)
})

test('cleaning up', async () => rmSync(folder, { recursive: true }))
