/**
 * Composition root of `drover tunnel [-f] NAME`, which to the outside behaves as `wireguard-go NAME`: makes the
 * interface, listens on NAME.sock, returns once that answers unless it stays in the foreground, ends when
 * interface or socket is removed. After a crash it comes back with the key and peers of its state file.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { connect } from 'node:net'
import { release } from 'node:os'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { GenericNetlink, netlinkRoom } from '../../linux/netlink.ts'
import { SystemdNotifier } from '../../linux/notify.ts'
import { listenAt } from '../../linux/unix-socket.ts'
import { NetlinkWireguard } from '../../linux/wireguard.ts'
import { DroverError, reasonOf } from '../../model/errors.ts'
import { factLines } from '../engine-facts.ts'
import { UapiClient } from '../uapi-client.ts'
import type { DeviceChange } from '../wireguard/change.ts'
import { errno, renderErrno, renderStatus } from '../wireguard/uapi.ts'
import { readArguments, type TunnelArguments } from './command-line.ts'
import { Engine } from './engine.ts'
import type { Inherited } from './handover.ts'
import { Handover } from './predecessor.ts'
import { standBy } from './standby.ts'
import { StateFile, settingsIn } from './state.ts'
import { atPath, UapiServer, whenRemoved } from './uapi-server.ts'

type Variables = Readonly<Record<string, string | undefined>>

/** How often roamed endpoints are put into the state file. */
const saveEvery = 10_000
const startDeadline = 10_000
const standbyLookEvery = 250
/** Loading a successor may take its time. */
const replaceDeadline = 80_000

/** Answers the exit code: 0 fine, 1 something failed, 2 usage. */
export async function tunnelMain(argv: readonly string[], env: Variables): Promise<number> {
  try {
    const given = readArguments(argv, env, release())
    if (given.replace) return await replace(given)
    return given.foreground ? await serve(given, env) : await daemonise(given, env)
  } catch (thrown) {
    const operators = thrown instanceof DroverError && thrown.culprit === 'operator'
    process.stderr.write(`drover tunnel: ${thrown instanceof DroverError ? thrown.line : reasonOf(thrown)}\n`)
    return operators && thrown.code === 'USAGE' ? 2 : 1
  }
}

interface Surroundings {
  readonly libc: Libc
  readonly state: StateFile | undefined
  readonly log: Logger
}

/** A running engine, and the UAPI socket that listens already. */
interface Begun {
  readonly engine: Engine
  readonly uapi: number
}

/** Runs until the tunnel ends or is a successor's. */
async function serve(given: TunnelArguments, env: Variables): Promise<number> {
  const log = loggerOf(given)
  const libc = new Libc(makeArena(4096))
  const notify = notifierOf(libc, env)
  const state = given.state === undefined ? undefined : new StateFile(given.state)
  const begun = await begin(given, { libc, state, log })
  const { engine, uapi } = begun
  log('verbose', `${engine.facts.interface} is up: ${JSON.stringify(engine.facts)}`)
  const kept = keeperOf(engine, state, log)
  const socket = { fd: uapi, dup: (fd: number) => libc.dup(fd) }
  const server = new UapiServer(socket, {
    get: () => statusText(engine),
    set: kept.set,
    replace: (command) => giver.give(command),
  })
  const giver = giverOf(begun, { libc, environment: env, hold: () => server.hold(), notify, log })
  await server.open()
  flushCompileCache()
  const stopWatching = watchForEnd(given, engine)
  const ending = await engine.ended
  stopWatching()
  kept.close()
  giver.close()
  server.close()
  if (given.uapiFd === undefined && ending.is !== 'failed' && !giver.given)
    rmSync(given.socket, { force: true })
  log(
    ending.is === 'failed' ? 'error' : 'verbose',
    ending.is === 'failed' ? ending.why : `ended: ${giver.given ? 'a successor goes on' : ending.is}`,
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

/** With what a predecessor left, or anew. */
async function begin(given: TunnelArguments, surroundings: Surroundings): Promise<Begun> {
  if (given.inherited !== undefined) return succeed(given, given.inherited, surroundings)
  const { libc, state, log } = surroundings
  if (given.standby) await waitForInterface(given)
  await refuseSecond(given)
  const engine = await Engine.start(libc, optionsOf(given))
  await restore(engine, state, log)
  return { engine, uapi: given.uapiFd ?? atPath(given.socket, (path) => listenAt(libc, path)) }
}

const optionsOf = (given: TunnelArguments) => ({
  interface: given.interface,
  fd: given.tunFd,
  persistent: given.persistent,
  inherited: given.inherited,
  mtu: given.tunFd === undefined && given.inherited === undefined ? given.mtu : undefined,
  without: given.without,
})

/** Takes a tunnel over; where the predecessor dies without giving it, goes on with its descriptors and state file. */
async function succeed(
  given: TunnelArguments,
  { channel, descriptors }: Inherited,
  { libc, state, log }: Surroundings,
): Promise<Begun> {
  for (const fd of [channel, ...Object.values(descriptors)]) libc.keepFromChildren(fd)
  const engine = await Engine.start(libc, optionsOf(given))
  if (!engine.heir && state === undefined)
    throw new DroverError('TUNNEL_UNAVAILABLE', 'the predecessor has died and left nothing')
  if (!engine.heir) {
    log('error', 'the predecessor has died: starting from the state file')
    await restore(engine, state, log)
  }
  return { engine, uapi: descriptors.uapi }
}

interface GiverDeps {
  readonly libc: Libc
  readonly environment: Variables
  /** Makes questions wait; the answer lets them go on. */
  readonly hold: () => () => Promise<void>
  readonly notify: (message: string) => void
  readonly log: Logger
}

/** Gives the tunnel to a successor when somebody asks for it. */
function giverOf({ engine, uapi }: Begun, { libc, environment, hold, notify, log }: GiverDeps) {
  let given = false
  let release: () => Promise<void> = () => Promise.resolve()
  const handover = new Handover({
    descriptors: async () => ({ ...(await engine.descriptors()), uapi }),
    socketPair: () => libc.socketPair(),
    practise: () => engine.practise(),
    freeze: (channel, version) => {
      release = hold()
      return engine.freeze(channel, version)
    },
    resume: () => {
      engine.resume()
      void release()
    },
  })
  const give = async (command: readonly string[]): Promise<string> => {
    const outcome = await handover.run({ command, environment })
    if (outcome.is === 'refused') {
      log('error', `the tunnel stays here: ${outcome.why}`)
      return `reason=${outcome.why.replaceAll('\n', ' ')}\n${renderErrno(errno.io)}`
    }
    given = true
    notify(`MAINPID=${outcome.pid}`)
    engine.stop({ remove: false })
    return renderErrno(0)
  }
  return {
    give,
    get given() {
      return given
    },
    close: () => handover.close(),
  }
}

/** Tells systemd, where it wants to know. */
function notifierOf(libc: Libc, { NOTIFY_SOCKET: socket }: Variables): (message: string) => void {
  const notifier = socket ? new SystemdNotifier(libc, socket) : undefined
  return (message) => notifier?.tell(message)
}

/** Asks whoever serves the interface to give it to a process of this command line; returns once that answers. */
async function replace(given: TunnelArguments): Promise<number> {
  if (!(await answers(given.socket)))
    throw new DroverError('TUNNEL_REPLACE', `no process serves ${given.interface} in userspace`)
  const client = new UapiClient(given.socket, { deadline: replaceDeadline })
  const [script = '', ...words] = process.argv.slice(1)
  const successor = [...words.filter((word) => word !== '--replace'), '-f']
  await client.replace([process.execPath, ...process.execArgv, script, ...successor])
  await client.get()
  return 0
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
    const result = await engine.set(change)
    if (state !== undefined && result === 0) await save()
    return result
  }
  return { set, close: () => clearInterval(timer) }
}

/** Key, port and peers as they were; then a handshake with every peer, by switching its keepalive on for once. */
async function restore(engine: Engine, state: StateFile | undefined, log: Logger): Promise<void> {
  const change = state?.read()
  if (change === undefined) return
  const refused = await engine.set(change)
  if (refused !== 0) return log('error', `the state file was refused: errno ${refused}`)
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
