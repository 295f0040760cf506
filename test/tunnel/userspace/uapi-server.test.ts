/**
 * The configuration socket, with an engine that only remembers: errno answers, clients that close their side at
 * once or say nonsense, several operations of one connection in order, the socket's mode and its removal.
 */
import { mkdtempSync, readdirSync, rmSync, statSync, watch } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { Libc, makeArena } from '../../../linux/ffi.ts'
import { listenAt } from '../../../linux/unix-socket.ts'
import { atPath, UapiServer, whenRemoved } from '../../../tunnel/userspace/uapi-server.ts'
import type { DeviceChange } from '../../../tunnel/wireguard/change.ts'
import { until } from '../../support/netns.ts'

const libc = new Libc(makeArena(4096))
const listening = (path: string) => ({
  fd: atPath(path, (fresh) => listenAt(libc, fresh)),
  dup: (fd: number) => libc.dup(fd),
})

interface World {
  readonly server: UapiServer
  readonly path: string
  readonly changes: DeviceChange[]
  /** What is answered. Our side is closed after so many answers, or with the last byte. */
  ask(text: string, answers?: number): Promise<string>
}

async function serve(t: Test): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'drover-uapi-'))
  const path = join(folder, 'wg.sock')
  const changes: DeviceChange[] = []
  const pause = () => new Promise((resolve) => setImmediate(resolve))
  const server = new UapiServer(listening(path), {
    get: async () => {
      await pause()
      return `listen_port=${changes.at(-1)?.listenPort ?? 0}\nerrno=0\n\n`
    },
    set: async (change) => {
      await pause()
      changes.push(change)
      return change.listenPort === 1 ? 98 : 0
    },
    replace: async (command) => `reason=${command.join()}\nerrno=-5\n\n`,
  })
  await server.open()
  t.teardown(() => {
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const ask = (text: string, answers = 0) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect({ path, allowHalfOpen: true })
      let said = ''
      if (answers === 0) socket.end(text)
      else socket.write(text)
      socket.on('data', (chunk) => {
        said += String(chunk)
        if (answers > 0 && said.split('errno').length > answers) socket.end()
      })
      socket.on('error', reject)
      socket.on('close', () => resolve(said))
      socket.on('end', () => socket.end())
    })
  return { server, path, changes, ask }
}

test('answers come in order, also to who has closed its side already', async (t) => {
  const { ask, changes, path } = await serve(t)
  t.equal(statSync(path).mode & 0o777, 0o700)
  const text = 'get=1\n\nset=1\nlisten_port=5\n\nget=1\n\nset=1\nlisten_port=1\n\nset=1\nno=1\n\n'
  const answers = ['listen_port=0\nerrno=0', 'errno=0', 'listen_port=5\nerrno=0', 'errno=-98', 'errno=-22']
  for (const closesAfter of [0, answers.length]) {
    changes.length = 0
    t.equal(await ask(text, closesAfter), `${answers.join('\n\n')}\n\n`)
  }
})

test('the socket has its name only once it listens, for wg removes one that does not', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-uapi-'))
  const named: (string | null)[] = []
  const watcher = watch(folder, (_, name) => named.push(name))
  const { fd } = listening(join(folder, 'wg.sock'))
  t.strictSame(readdirSync(folder), ['wg.sock'])
  await until('both names', () => named.includes('wg.sock'))
  t.equal(named[0], 'wg.sock.new')
  watcher.close()
  libc.close(fd)
  rmSync(folder, { recursive: true, force: true })
})

test('while it holds, who asks and who connects waits; then both are answered', async (t) => {
  const { ask, path, server, changes } = await serve(t)
  const socket = connect(path)
  const heard: string[] = []
  socket.on('data', (chunk) => heard.push(String(chunk)))
  socket.write('replace=1\nargument=a\nargument=b\n\n')
  await until('an answer', () => heard.length === 1)
  const release = server.hold()
  socket.write('set=1\nlisten_port=9\n\n')
  const late = ask('get=1\n\n')
  await new Promise((resolve) => connect(path).once('connect', resolve))
  t.strictSame([heard.length, changes.length], [1, 0])
  await release()
  await until('the answer', () => heard.length === 2)
  t.strictSame(heard, ['reason=a,b\nerrno=-5\n\n', 'errno=0\n\n'])
  t.match(await late, /^listen_port=[09]\nerrno=0\n\n$/)
  socket.destroy()
})

test('who does not speak the protocol is hung up on, whoever else is served', async (t) => {
  const { ask } = await serve(t)
  t.equal(await ask('GET / HTTP/1.1\r\n\r\n'), '')
  t.equal(await ask(`set=1\nallowed_ip=${'1'.repeat(5000)}`), '')
  t.equal(await ask('set=1\nlisten_port=7\n'), '', 'half of an operation is none')
  t.equal(await ask('get=1\n\n', 1), 'listen_port=0\nerrno=0\n\n')
})

test('the removal of the socket is noticed', async (t) => {
  const { path } = await serve(t)
  const removed = new Promise<void>((resolve) => whenRemoved(path, resolve))
  rmSync(path)
  await removed
  t.pass('noticed')
})
