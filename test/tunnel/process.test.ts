import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { TunnelProcess } from '../../tunnel/tunnel-process.ts'
import { UapiClient } from '../../tunnel/uapi-client.ts'
import { readState } from '../../tunnel/uapi-peers.ts'
import { isRoot, needsRoot, until } from '../support/netns.ts'
import { enterOwnNetns } from '../support/own-netns.ts'
import { MemoryLog, MemoryMeter } from '../support/ports.ts'
import { realClock } from '../support/real-clock.ts'

if (isRoot) {
  enterOwnNetns()
  execFileSync('ip', ['link', 'set', 'lo', 'up'])
}

const folder = mkdtempSync(join(tmpdir(), 'drover-process-'))
const script = join(import.meta.dirname, '../../cli/wireguard.ts')
const socketOf = (name: string): string => join(folder, `${name}.sock`)

/** As the daemon holds it. */
function holder(name: string) {
  const [log, meter] = [new MemoryLog(), new MemoryMeter()]
  const client = new UapiClient(socketOf(name))
  const environment = {
    ...process.env,
    DROVER_TUNNEL_SOCKETS: folder,
    DROVER_TUNNEL_STATE: join(folder, `${name}.state`),
    DROVER_TUNNEL_PERSIST: '1',
  }
  const command = [process.execPath, script, '-f', name]
  const deps = { client, clock: realClock, log, meter }
  const held = new TunnelProcess(deps, { command, environment, logFile: join(folder, 'log') })
  let ups = 0
  const running = held.run(() => ups++)
  const stop = async (): Promise<void> => {
    held.close()
    await running
  }
  return { held, client, meter, log, stop, ups: () => ups }
}

/** The processes that serve an interface. */
function pidsOf(name: string): readonly number[] {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger)
  return pids.filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').endsWith(`${script}\0-f\0${name}\0`)
    } catch {
      return false // it has just ended
    }
  })
}

const onlyPid = (name: string): Promise<number> =>
  until(`one process for ${name}`, () => {
    const pids = pidsOf(name)
    return pids.length === 1 && pids[0]
  })

async function end(name: string): Promise<void> {
  rmSync(socketOf(name), { force: true })
  await until(`${name} ended`, () => pidsOf(name).length === 0)
}

const keys = () => {
  const key = execFileSync('wg', ['genkey'])
  const hex = (bytes: Buffer) => Buffer.from(String(bytes), 'base64').toString('hex')
  return { own: hex(key), open: hex(execFileSync('wg', ['pubkey'], { input: key })) }
}

test('a tunnel process is started, found again, and back after kill -9', needsRoot, async (t) => {
  const names = [`dt${process.pid}a`, `dt${process.pid}b`] as const
  const [one, other] = [holder(names[0]), holder(names[1])]
  await until('both up', () => one.ups() === 1 && other.ups() === 1)
  const [mine, theirs] = [keys(), keys()]
  await other.client.set([`private_key=${theirs.own}`, 'listen_port=51902', `public_key=${mine.open}`])
  const peer = [`public_key=${theirs.open}`, 'endpoint=127.0.0.1:51902', 'allowed_ip=10.8.0.2/32']
  await one.client.set([`private_key=${mine.own}`, 'listen_port=51901', ...peer])

  const pid = await onlyPid(names[0])
  await one.stop()
  const again = holder(names[0])
  t.teardown(async () => {
    await Promise.all([again.stop(), other.stop()])
    await Promise.all(names.map(end))
  })
  await until('found', () => again.ups() === 1)
  t.same(pidsOf(names[0]), [pid], 'the same process serves the next daemon')

  const begun = performance.now()
  process.kill(pid, 'SIGKILL')
  const called = await until('a handshake by itself', async () => {
    const state = await again.client.get().then(readState, () => undefined)
    return state?.peers.some(({ lastHandshake }) => lastHandshake !== undefined) && performance.now()
  })
  t.comment(`key, peers and a handshake ${Math.round(called - begun)} ms after kill -9`)
  t.not(await onlyPid(names[0]), pid)
  t.match(await again.client.get(), `private_key=${mine.own}\nlisten_port=51901\n`)
  t.equal(again.meter.values.get('drover_worker_restarts_total{"worker":"tunnel"}'), 1)
  await until('the daemon knows', () => again.ups() === 2 && again.held.running)
  const ended = again.log.lines.find(({ message }) => message === 'the tunnel process ended')
  t.equal(ended?.fields.logFile, join(folder, 'log'), 'and says where to read on')
})

test('a tunnel process that gives its tunnel away is followed to its successor', needsRoot, async (t) => {
  const name = `dt${process.pid}c`
  const one = holder(name)
  await until('up', () => one.ups() === 1)
  t.teardown(async () => {
    await one.stop()
    await end(name)
  })
  await one.client.set([`private_key=${keys().own}`, 'listen_port=51903'])
  const before = await one.client.get()
  const pids = new Set([await onlyPid(name)])
  for (let round = 2; round < 5; round++) {
    await one.client.replace([process.execPath, script, '-f', name])
    await until('it is followed', () => one.ups() === round && one.held.running)
    pids.add(await onlyPid(name))
    t.equal(await one.client.get(), before)
  }
  t.equal(pids.size, 4, 'each is another process, and there is only one')
  t.equal(one.meter.values.get('drover_worker_restarts_total{"worker":"tunnel"}'), undefined, 'none crashed')
  const crashed = await onlyPid(name)
  process.kill(crashed, 'SIGKILL')
  await until('another', async () => one.ups() === 5 && (await onlyPid(name)) !== crashed)
  t.equal(one.meter.values.get('drover_worker_restarts_total{"worker":"tunnel"}'), 1, 'a crash is one')
  await onlyPid(name).then((pid) => process.kill(pid, 'SIGKILL'))
  await until('a third', () => one.ups() === 6)
  const failures = one.log.lines.filter(({ message }) => message === 'the tunnel process failed')
  t.match(failures, [{ fields: { why: 'killed by SIGKILL', code: null } }])
})

test('a process that cannot start is tried ever more slowly, and close ends it', needsRoot, async (t) => {
  const [log, meter] = [new MemoryLog(), new MemoryMeter()]
  const started = join(folder, 'started')
  const command = ['sh', '-c', `echo again >> ${started}; echo first; echo no TUN device here >&2; exit 3`]
  const deps = { client: new UapiClient(socketOf('nobody')), clock: realClock, log, meter }
  const held = new TunnelProcess(deps, { command, environment: process.env, logFile: join(folder, 'log') })
  const running = held.run(() => t.fail('it is not up'))
  await until('three attempts', () => existsSync(started) && readFileSync(started, 'utf8').length >= 18)
  t.notOk(held.running)
  held.close()
  await running
  const said = log.lines.filter(({ level }) => level === 'warn')
  t.match(said, [{ message: 'the tunnel process failed', fields: { why: 'no TUN device here', code: 3 } }])
  t.equal(said.length, 1, 'once, however often it is tried')
})

/** A server that does this with each connection, and a client that is patient unless it waits in vain. */
async function serve(
  t: Test,
  name: string,
  act: (socket: Socket) => void,
  deadline = 10_000,
): Promise<UapiClient> {
  const server: Server = createServer((socket) => act(socket.on('error', () => undefined)))
  await new Promise<void>((resolve) => server.listen(socketOf(name), resolve))
  t.teardown(() => server.close())
  return new UapiClient(socketOf(name), { deadline })
}

test('a UAPI client and servers that are none', async (t) => {
  const unavailable = { code: 'TUNNEL_UNAVAILABLE' }
  await t.rejects(new UapiClient(socketOf('absent')).get(), unavailable, 'nobody there')
  const silent = await serve(t, 'silent', (socket) => void socket.resume(), 100)
  await t.rejects(silent.get(), unavailable, 'silence')
  const rude = await serve(t, 'rude', (socket) => void socket.destroy())
  await t.rejects(rude.set(['listen_port=1']), unavailable, 'hung up')
  const half = await serve(t, 'half', (socket) => void socket.end('private_key=00'))
  await t.rejects(half.get(), unavailable, 'half an answer')
  const garbage = await serve(t, 'garbage', (socket) => void socket.write(Buffer.alloc(3000, 0xfe)), 100)
  await t.rejects(garbage.get(), unavailable, 'garbage without an end')
  const ended = await serve(t, 'ended', (socket) => void socket.write('\u0000\u00ff=\n\n'))
  await t.rejects(ended.set(['listen_port=1']), unavailable, 'garbage with an end')
  t.same(readState(await ended.get()).peers, [])
  const endless = await serve(t, 'endless', (socket) => {
    const pour = (): void => {
      while (!socket.destroyed && socket.write(Buffer.alloc(1 << 20, 0x61)));
    }
    socket.on('drain', pour)
    pour()
  })
  await t.rejects(endless.get(), unavailable, 'without end')
  const late = await serve(t, 'late', (socket) => {
    socket.once('data', () => socket.write('errno=', () => setImmediate(() => socket.write('0\n\n'))))
  })
  await late.set(['listen_port=1'])
})

test('cleaning up', async () => rmSync(folder, { recursive: true, force: true }))
