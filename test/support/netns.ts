/**
 * Network namespaces for tests: hosts, wires between them, containers (processes with a namespace of their own),
 * servers, clients and captures inside. Everything ends with `close`, and by itself when the test's process dies;
 * named leftovers of dead processes are removed by the next world. Needs root.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readlinkSync, statSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { SystemRunner } from '../../linux/run.ts'

export interface TestNetns {
  readonly name: string
  readonly path: string
  readonly runner: SystemRunner
  /** Standard output of a command line, split at spaces; rejects when it fails. */
  sh(line: string): Promise<string>
}

export interface TestContainer {
  readonly pid: number
  readonly inode: number
  readonly space: TestNetns
  kill(): Promise<void>
}

export interface Capture {
  /** Waits until a packet like this was captured. */
  seen(what: string): Promise<unknown>
  /** Ends it and gives one line per packet. */
  lines(): Promise<readonly string[]>
}

export const isRoot = process.getuid?.() === 0

/** For tap's `skip` option. */
export const needsRoot: { skip?: string } = isRoot ? {} : { skip: 'needs root for network namespaces' }

/** Waits for a state, generously; says what never came. */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  patience = 30_000,
): Promise<T> {
  for (const end = Date.now() + patience; ; await pause(10)) {
    const value = await probe()
    if (value !== undefined && value !== false) return value
    if (Date.now() > end) throw new Error(`it never happened: ${what}`)
  }
}

export class NetnsWorld {
  readonly #spaces: TestNetns[] = []
  readonly #children = new Set<ChildProcess>()
  readonly #root = new SystemRunner({}, {})

  static async open(): Promise<NetnsWorld> {
    const world = new NetnsWorld()
    for (const name of leftovers()) await world.#root.attempt(['ip', 'netns', 'del', name])
    return world
  }

  /** A namespace with `lo` up. */
  async netns(label: string): Promise<TestNetns> {
    const name = `dt-${process.pid}-${label}`
    await this.#root.run(['ip', 'netns', 'add', name])
    const space = spaceAt(name, `/run/netns/${name}`)
    this.#spaces.push(space)
    await space.sh('ip link set dev lo up')
    return space
  }

  /** A wire between two namespaces; each end as `name address/bits`. */
  async wire(one: TestNetns, oneEnd: string, other: TestNetns, otherEnd: string): Promise<void> {
    const [oneName = '', oneAddress = ''] = oneEnd.split(' ')
    const [otherName = '', otherAddress = ''] = otherEnd.split(' ')
    await one.sh(`ip link add ${oneName} type veth peer name ${otherName} netns ${other.name}`)
    await one.sh(`ip addr add ${oneAddress} dev ${oneName}`)
    await other.sh(`ip addr add ${otherAddress} dev ${otherName}`)
    // no IPv6: its addresses change by themselves for a while
    await one.sh(`ip link set dev ${oneName} addrgenmode none`)
    await other.sh(`ip link set dev ${otherName} addrgenmode none`)
    await one.sh(`ip link set dev ${oneName} up`)
    await other.sh(`ip link set dev ${otherName} up`)
  }

  /** A process in a namespace of its own, as Docker would make it with `--network none`. */
  async container(host: TestNetns): Promise<TestContainer> {
    const child = this.spawn(host, ['unshare', '--net', 'cat'])
    const pid = child.pid ?? 0
    const before = new Set([readlinkSync('/proc/self/ns/net'), `net:[${statSync(host.path).ino}]`])
    await until('a namespace of its own', () => !before.has(readlinkSync(`/proc/${pid}/ns/net`)))
    const space = spaceAt(`container ${pid}`, `/proc/${pid}/ns/net`)
    await space.sh('ip link set dev lo up')
    return { pid, inode: statSync(space.path).ino, space, kill: () => this.#end(child) }
  }

  /** A long-running program; its input ends when this process does. */
  spawn(space: TestNetns, argv: readonly string[]): ChildProcess {
    const child = spawn('nsenter', [`--net=${space.path}`, ...argv], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    return child
  }

  /** Answers every message with `<name> <asker's address>`. */
  async listen(space: TestNetns, kind: 'udp' | 'tcp', address: string, port: number, name: string) {
    const child = this.spawn(space, [process.execPath, '-e', server, kind, address, String(port), name])
    await said(child, 'stdout', 'ready')
  }

  /** Packets on a device that match a filter of tcpdump's. */
  async capture(space: TestNetns, device: string, filter: string): Promise<Capture> {
    const child = this.spawn(space, ['tcpdump', '-nlUi', device, '--immediate-mode', ...filter.split(' ')])
    let text = ''
    child.stdout?.on('data', (chunk) => {
      text += String(chunk)
    })
    await said(child, 'stderr', 'listening on')
    const lines = async () => {
      await this.#end(child, 'SIGINT')
      return text.split('\n').filter((line) => line !== '')
    }
    return { lines, seen: (what) => until(`a packet with ${what}`, () => text.includes(what)) }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#children].map((child) => this.#end(child)))
    for (const { name } of this.#spaces) await this.#root.attempt(['ip', 'netns', 'del', name])
  }

  #end(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
    return new Promise((resolve) => {
      child.once('close', () => resolve())
      child.kill(signal)
    })
  }
}

/** What a server answers, or the code of the error; `from` binds the asker. */
export async function ask(space: TestNetns, kind: 'udp' | 'tcp', address: string, port: number, from = '') {
  const { stdout } = await space.runner.attempt([
    process.execPath,
    '-e',
    client,
    kind,
    address,
    String(port),
    from,
  ])
  return stdout.trim()
}

function spaceAt(name: string, path: string): TestNetns {
  const runner = new SystemRunner({}, { netns: path })
  return { name, path, runner, sh: (line) => runner.run(line.split(' ')) }
}

/** Namespaces whose owner is dead. */
function leftovers(): readonly string[] {
  let names: string[] = []
  try {
    names = readdirSync('/run/netns')
  } catch {} // nobody has made one yet
  return names.filter((name) => {
    const owner = /^dt-(\d+)-/.exec(name)?.[1]
    return owner !== undefined && statSync(`/proc/${owner}`, { throwIfNoEntry: false }) === undefined
  })
}

async function said(child: ChildProcess, stream: 'stdout' | 'stderr', what: string): Promise<void> {
  let text = ''
  child[stream]?.on('data', (chunk) => {
    text += String(chunk)
  })
  await until(`${child.spawnargs.join(' ')} saying ${what}`, () => {
    if (child.exitCode !== null) throw new Error(`ended: ${child.spawnargs.join(' ')}: ${text}`)
    return text.includes(what)
  })
}

const server = `
  const [kind, address, port, name] = process.argv.slice(1)
  process.stdin.resume().on('end', () => process.exit())
  if (kind === 'udp') {
    const socket = require('dgram').createSocket('udp4')
    socket.on('message', (_, from) => socket.send(name + ' ' + from.address, from.port, from.address))
    socket.bind(Number(port), address, () => console.log('ready'))
  } else {
    require('net').createServer((socket) => {
      socket.on('error', () => {}).end(name + ' ' + socket.remoteAddress)
    }).listen(Number(port), address, () => console.log('ready'))
  }`

const client = `
  const [kind, address, port, from] = process.argv.slice(1)
  const done = (text) => { console.log(text); process.exit() }
  setTimeout(() => done('timeout'), 1500)
  if (kind === 'udp') {
    const socket = require('dgram').createSocket('udp4')
    socket.on('message', (text, by) => done(text + ''))
    socket.on('error', (error) => done(error.code))
    socket.bind(0, from || undefined, () => socket.connect(Number(port), address, () => socket.send('?')))
  } else {
    require('net').connect({ host: address, port: Number(port), localAddress: from || undefined })
      .on('error', (error) => done(error.code)).on('data', (text) => done(text + ''))
  }`
