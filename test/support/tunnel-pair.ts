/**
 * Two tunnels on two hosts for tests: namespaces with a wire between them, an engine in each, keys and addresses, so
 * that pings and iperf3 pass from one to the other. Needs root.
 */
import { type ChildProcess, execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isRoot, NetnsWorld, type TestNetns, until } from './netns.ts'

export const run = promisify(execFile)
export const mainScript = join(import.meta.dirname, '../../cli/main.ts')

export interface Side {
  readonly space: TestNetns
  readonly device: string
  readonly address: string
  readonly underlay: string
  readonly key: string
  readonly publicKey: string
  readonly engine: string
  readonly state: string
}

/** What it needs of a test. */
interface Teardown {
  teardown(end: () => unknown): unknown
}

export interface Pair {
  readonly one: Side
  readonly other: Side
}

export interface PingCount {
  readonly sent: number
  readonly lost: number
  /** Milliseconds. */
  readonly longest: number
}

export const port = 51_820
export const socketOf = ({ device }: Pick<Side, 'device'>): string => `/var/run/wireguard/${device}.sock`

const variables = (one: Side) => ({
  ...process.env,
  DROVER_TUNNEL_STATE: one.state,
  DROVER_TUNNEL_PERSIST: '1',
})

/** Starts an engine as wg-quick would, without `-f`. */
export async function startSide(one: Side): Promise<void> {
  const enter = [`--net=${one.space.path}`]
  const command =
    one.engine === 'drover'
      ? [process.execPath, mainScript, 'tunnel', one.device]
      : ['wireguard-go', one.device]
  await run('nsenter', [...enter, ...command], { env: variables(one) })
}

async function configure(one: Side, other: Side): Promise<void> {
  await run('wg', ['set', one.device, 'private-key', one.key, 'listen-port', String(port)])
  await addPeer(one, other)
  for (const address of [`${one.address}/24`, `fd99::${one.address.slice(-1)}/64`])
    await one.space.sh(`ip addr replace ${address} dev ${one.device} nodad`)
  await one.space.sh(`ip link set ${one.device} up mtu 1420`)
}

export const addPeer = (one: Side, other: Side) =>
  run('wg', [
    'set',
    one.device,
    'peer',
    other.publicKey,
    'endpoint',
    `${other.underlay}:${port}`,
    'allowed-ips',
    `${other.address}/32,fd99::${other.address.slice(-1)}/128`,
  ])

export const ping = (one: Side, target: string, ...more: string[]) =>
  one.space.sh(['ping -c 3 -i 0.05 -W 5', ...more, target].join(' '))

/** When the last handshake was, in seconds since 1970; 0 for never. */
export async function handshakeOf(one: Side): Promise<number> {
  const { stdout } = await run('wg', ['show', one.device, 'latest-handshakes'])
  return Number(stdout.split('\t')[1])
}

const gone = (one: Side) =>
  until(`${one.device} gone`, async () => !(await one.space.sh('ip -o link')).includes(one.device))

/** Whoever serves a side's interface: the process whose command line ends with it. */
export async function pidOf(one: Side): Promise<number> {
  const { stdout } = await run('pgrep', ['-f', `tunnel ${one.device} -f$`])
  return Number(stdout.trim())
}

/** Asks the process of a side to make way for a successor. */
export const replace = (one: Side) => run(process.execPath, [mainScript, 'tunnel', '--replace', one.device])

/** Replaces the process of a side, and answers its pid once the old one has ended. */
export async function replaced(one: Side): Promise<number> {
  const before = await pidOf(one)
  await replace(one)
  await until('the predecessor gone', () => !existsSync(`/proc/${before}`))
  return pidOf(one)
}

export class TunnelWorld {
  readonly folder = mkdtempSync(join(tmpdir(), 'drover-tunnel-'))
  readonly #world: NetnsWorld | undefined
  #iperfPort = 5300
  #iperfServer: ChildProcess | undefined

  private constructor(world: NetnsWorld | undefined) {
    this.#world = world
  }

  static async open(): Promise<TunnelWorld> {
    return new TunnelWorld(isRoot ? await NetnsWorld.open() : undefined)
  }

  async pair(t: Teardown, label: string, engines: readonly [string, string]): Promise<Pair> {
    const world = this.#world
    const spaces = await Promise.all([world?.netns(`${label}1`), world?.netns(`${label}2`)])
    const [first, second] = spaces
    if (world === undefined || first === undefined || second === undefined) throw new TypeError('no world')
    await world.wire(first, 'w0 192.168.77.1/24', second, 'w0 192.168.77.2/24')
    const one = await this.#side(first, 1, engines[0], label)
    const other = await this.#side(second, 2, engines[1], label)
    await Promise.all([startSide(one), startSide(other)])
    t.teardown(async () => {
      for (const end of [one, other]) {
        rmSync(socketOf(end), { force: true })
        await gone(end)
      }
    })
    await configure(one, other)
    await configure(other, one)
    return { one, other }
  }

  /** Bytes that arrived, in a second unless the options say otherwise; rejects when a connection breaks. */
  async iperf(one: Side, other: Side, ...options: string[]): Promise<number> {
    const use = String(++this.#iperfPort)
    const server = this.#world?.spawn(other.space, ['iperf3', '-s', '-1', '--forceflush', '-p', use])
    this.#iperfServer = server
    let said = ''
    server?.stdout?.on('data', (chunk) => {
      said += String(chunk)
    })
    await until('iperf3 listening', () => said.includes('listening'))
    const text = await one.space.sh(`iperf3 -J -p ${use} -c ${other.address} -t 1 ${options.join(' ')}`)
    return JSON.parse(text).end.sum_received?.bytes ?? JSON.parse(text).end.sum.bytes
  }

  /** Five hundred pings a second, until it is stopped. */
  pings(one: Side, target: string) {
    const child = this.spawn(one, ['ping', '-n', '-q', '-i', '0.002', target])
    let said = ''
    child.stdout?.on('data', (chunk) => {
      said += String(chunk)
    })
    return async (): Promise<PingCount> => {
      const closed = once(child, 'close')
      child.kill('SIGINT')
      await closed
      const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(said) ?? []
      const longest = /= [\d.]+\/[\d.]+\/([\d.]+)\//.exec(said)?.[1]
      return { sent: Number(sent), lost: Number(sent) - Number(received), longest: Number(longest) }
    }
  }

  /** Breaks off the transfer that began last. */
  endIperf(): void {
    this.#iperfServer?.kill('SIGKILL')
  }

  /** A program in a side's namespace, until the world ends. */
  spawn(one: Side, argv: readonly string[]) {
    if (this.#world === undefined) throw new TypeError('no world')
    return this.#world.spawn(one.space, argv)
  }

  async close(): Promise<void> {
    await this.#world?.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #side(space: TestNetns, number: number, engine: string, label: string): Promise<Side> {
    const { stdout: key } = await run('wg', ['genkey'])
    const path = join(this.folder, `${label}${number}.key`)
    writeFileSync(path, key, { mode: 0o600 })
    const device = `dt${process.pid}${label}${number}`
    return {
      space,
      device,
      address: `10.99.0.${number}`,
      underlay: `192.168.77.${number}`,
      key: path,
      publicKey: (await run('sh', ['-c', 'wg pubkey < "$0"', path])).stdout.trim(),
      engine,
      state: join(this.folder, `${device}.state`),
    }
  }
}
