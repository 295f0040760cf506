/**
 * Composition root of `drover tunnel [-f] NAME`, which to the outside behaves as `wireguard-go NAME`: makes the
 * interface, listens on NAME.sock, returns once that answers unless it stays in the foreground, ends when
 * interface or socket is removed. After a crash it comes back with the key and peers of its state file.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { connect } from 'node:net'
import { release } from 'node:os'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { GenericNetlink, netlinkRoom } from '../../linux/netlink.ts'
import { NetlinkWireguard } from '../../linux/wireguard.ts'
import { DroverError, reasonOf } from '../../model/errors.ts'
import { factLines } from '../engine-facts.ts'
import type { DeviceChange } from '../wireguard/change.ts'
import { renderStatus } from '../wireguard/uapi.ts'
import { readArguments, type TunnelArguments } from './command-line.ts'
import { Engine } from './engine.ts'
import { standBy } from './standby.ts'
import { StateFile, settingsIn } from './state.ts'
import { UapiServer, whenRemoved } from './uapi-server.ts'

type Variables = Readonly<Record<string, string | undefined>>

/** How often roamed endpoints are put into the state file. */
const saveEvery = 10_000
const startDeadline = 10_000
const standbyLookEvery = 250

/** Answers the exit code: 0 fine, 1 something failed, 2 usage. */
export async function tunnelMain(argv: readonly string[], env: Variables): Promise<number> {
  try {
    const given = readArguments(argv, env, release())
    return given.foreground ? await serve(given) : await daemonise(given, env)
  } catch (thrown) {
    const operators = thrown instanceof DroverError && thrown.culprit === 'operator'
    process.stderr.write(`drover tunnel: ${thrown instanceof DroverError ? thrown.line : reasonOf(thrown)}\n`)
    return operators && thrown.code === 'USAGE' ? 2 : 1
  }
}

/** Runs until the tunnel ends. */
async function serve(given: TunnelArguments): Promise<number> {
  const log = loggerOf(given)
  if (given.standby) await waitForInterface(given)
  await refuseSecond(given)
  const engine = await Engine.start(new Libc(makeArena(4096)), {
    interface: given.interface,
    fd: given.tunFd,
    persistent: given.persistent,
    mtu: given.tunFd === undefined ? given.mtu : undefined,
    without: given.without,
  })
  log('verbose', `${engine.facts.interface} is up: ${JSON.stringify(engine.facts)}`)
  const state = given.state === undefined ? undefined : new StateFile(given.state)
  const kept = keeperOf(engine, state, log)
  await restore(engine, state, log)
  const server = new UapiServer({ get: () => statusText(engine), set: kept.set })
  await (given.uapiFd === undefined ? server.listen(given.socket) : server.adopt(given.uapiFd))
  const stopWatching = watchForEnd(given, engine)
  const ending = await engine.ended
  stopWatching()
  kept.close()
  server.close()
  if (given.uapiFd === undefined && ending.is !== 'failed') rmSync(given.socket, { force: true })
  log(
    ending.is === 'failed' ? 'error' : 'verbose',
    ending.is === 'failed' ? ending.why : `ended: ${ending.is}`,
  )
  return ending.is === 'failed' ? 1 : 0
}

/** What it says is for the one who looks why nothing happens, so it is said at any level but `silent`. */
async function waitForInterface({ interface: name, logLevel }: TunnelArguments): Promise<void> {
  const netlink = new GenericNetlink(new Libc(makeArena(netlinkRoom + 4096)))
  const say = (text: string): void => {
    if (logLevel !== 'silent') process.stderr.write(`info: (${name}) ${text}\n`)
  }
  const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, standbyLookEvery))
  await standBy({ wireguard: new NetlinkWireguard({ netlink }), pause, say }, name)
}

type Logger = (level: 'error' | 'verbose', text: string) => void

const loggerOf =
  ({ logLevel, interface: name }: TunnelArguments): Logger =>
  (level, text) => {
    if (logLevel === 'verbose' || level === logLevel) process.stderr.write(`${level}: (${name}) ${text}\n`)
  }

async function statusText(engine: Engine): Promise<string> {
  const { device, driver, facts } = await engine.status()
  return renderStatus(device, driver, factLines(facts))
}

/** Changes that reach the state file before they are answered, and roaming now and then. */
function keeperOf(engine: Engine, state: StateFile | undefined, log: Logger) {
  const save = async (): Promise<void> => {
    try {
      state?.write(settingsIn(await statusText(engine)))
    } catch (error) {
      log('error', `the state file cannot be written: ${reasonOf(error)}`)
    }
  }
  const timer = state === undefined ? undefined : setInterval(() => void save(), saveEvery)
  const set = async (change: DeviceChange): Promise<number> => {
    const errno = await engine.set(change)
    if (state !== undefined && errno === 0) await save()
    return errno
  }
  return { set, close: () => clearInterval(timer) }
}

/** Key, port and peers as they were; then a handshake with every peer, by switching its keepalive on for once. */
async function restore(engine: Engine, state: StateFile | undefined, log: Logger): Promise<void> {
  const change = state?.read()
  if (change === undefined) return
  const errno = await engine.set(change)
  if (errno !== 0) return log('error', `the state file was refused: errno ${errno}`)
  const keepalive = (seconds: (was: number) => number): DeviceChange => ({
    peers: change.peers.map(({ publicKey, persistentKeepalive = 0 }) => ({
      publicKey,
      updateOnly: true,
      persistentKeepalive: seconds(persistentKeepalive),
    })),
  })
  await engine.set(keepalive((was) => was || 1))
  await engine.set(keepalive((was) => was))
}

function watchForEnd(given: TunnelArguments, engine: Engine): () => void {
  const remove = (): void => engine.stop({ remove: true })
  const stop = (): void => engine.stop({ remove: false })
  const watching = given.uapiFd === undefined ? whenRemoved(given.socket, remove) : undefined
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  return () => {
    watching?.close()
    process.off('SIGTERM', stop)
    process.off('SIGINT', stop)
  }
}

async function refuseSecond({ socket, uapiFd, interface: name }: TunnelArguments): Promise<void> {
  if (uapiFd === undefined && (await answers(socket)))
    throw new DroverError('TUNNEL_DEVICE', `${name} is served by another process already`)
}

/** Starts the same command line in the foreground of a process of its own, and waits until its socket answers. */
async function daemonise(given: TunnelArguments, env: Variables): Promise<number> {
  await refuseSecond(given)
  const [script = '', ...words] = process.argv.slice(1)
  const inherited = [given.tunFd, given.uapiFd].filter((fd) => fd !== undefined)
  const numbers = {
    ...(given.tunFd === undefined ? {} : { WG_TUN_FD: '3' }),
    ...(given.uapiFd === undefined ? {} : { WG_UAPI_FD: String(2 + inherited.length) }),
  }
  const output = env.LOG_LEVEL === undefined ? 'pipe' : 'inherit'
  const child = spawn(process.execPath, [...process.execArgv, script, ...words, '-f'], {
    detached: true,
    env: { LOG_LEVEL: 'silent', ...env, ...numbers },
    stdio: ['ignore', 'ignore', output, ...inherited],
  })
  const said: string[] = []
  child.stderr?.on('data', (chunk) => said.push(String(chunk)))
  const code = given.uapiFd === undefined ? await untilAnswers(child, given.socket) : 0
  if (code !== 0) process.stderr.write(said.join(''))
  child.stderr?.destroy()
  child.unref()
  return code
}

async function untilAnswers(child: ChildProcess, socket: string): Promise<number> {
  const exited = new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? 1)))
  const end = performance.now() + startDeadline
  while (performance.now() < end) {
    if (await answers(socket)) return 0
    const pause = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 10))
    const code = await Promise.race([exited, pause])
    if (code !== undefined) return code === 0 ? 1 : code
  }
  child.kill('SIGKILL')
  process.stderr.write('drover tunnel: the socket does not answer\n')
  return 1
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => socket.destroy() && resolve(true))
    socket.once('error', () => resolve(false))
  })
}
