/**
 * Hosts with a tunnel process each, ours or wireguard-go, in network namespaces; between two of them a relay that
 * damages what passes (udp-relay.ts). Configured with `wg`, as people do. Needs root; everything ends with `close`.
 */
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type NetnsWorld, type TestNetns, until } from './netns.ts'

const executable = join(import.meta.dirname, '../../cli/wireguard.ts')
const relayProgram = join(import.meta.dirname, 'udp-relay.ts')
export const port = 51_820

export type Engine = 'drover' | 'wireguard-go'

/** What a process has written so far. */
export function outputOf(child: ChildProcess): () => string {
  let text = ''
  child.stdout?.on('data', (chunk) => {
    text += String(chunk)
  })
  return () => text
}

export class TunnelHost {
  readonly number: number
  readonly space: TestNetns
  readonly device: string
  readonly engine: Engine
  publicKey = ''
  readonly #world: NetnsWorld
  readonly #folder: string
  #process: ChildProcess | undefined

  constructor(
    world: NetnsWorld,
    space: TestNetns,
    folder: string,
    facts: { number: number; engine: Engine },
  ) {
    this.#world = world
    this.space = space
    this.#folder = folder
    this.number = facts.number
    this.engine = facts.engine
    this.device = `dtv${process.pid}n${facts.number}`
  }

  get socket(): string {
    return `/var/run/wireguard/${this.device}.sock`
  }

  get inner(): string {
    return `10.99.0.${this.number}`
  }

  get inner6(): string {
    return `fd99::${this.number}`
  }

  /** Starts the engine and gives it a key and addresses. */
  async start(): Promise<void> {
    const command = this.engine === 'drover' ? [process.execPath, executable] : ['wireguard-go']
    const child = this.#world.spawn(this.space, [...command, '-f', this.device])
    this.#process = child
    let complaint = ''
    child.stderr?.on('data', (chunk) => {
      complaint += String(chunk)
    })
    await until(`${this.engine} answering`, () => {
      if (child.exitCode !== null) throw new Error(`${this.engine} ended: ${complaint}`)
      return connects(this.socket)
    })
    if (this.publicKey === '') await this.newKey()
    else await this.wg('set', this.device, 'private-key', this.#keyFile)
    await this.wg('set', this.device, 'listen-port', String(port))
    for (const address of [`${this.inner}/24`, `${this.inner6}/64`])
      await this.space.sh(`ip addr add ${address} dev ${this.device} nodad`)
    await this.space.sh(`ip link set ${this.device} up mtu 1420`)
  }

  /** Ends the engine without a word. */
  async kill(): Promise<void> {
    const child = this.#process
    if (child === undefined) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await gone
    rmSync(this.socket, { force: true })
  }

  async newKey(): Promise<void> {
    writeFileSync(this.#keyFile, await this.wg('genkey'), { mode: 0o600 })
    await this.wg('set', this.device, 'private-key', this.#keyFile)
    this.publicKey = (await this.wg('show', this.device, 'public-key')).trim()
  }

  /** In the host's namespace, where zones have their names. */
  wg(...words: readonly string[]): Promise<string> {
    return this.space.runner.run(['wg', ...words])
  }

  /** Sets a peer, with both of its inner addresses unless told otherwise. */
  async peer(other: TunnelHost, ...words: readonly string[]): Promise<void> {
    const routes = words.includes('allowed-ips')
      ? []
      : ['allowed-ips', `${other.inner}/32,${other.inner6}/128`]
    await this.wg('set', this.device, 'peer', other.publicKey, ...routes, ...words)
  }

  async forget(other: TunnelHost): Promise<void> {
    await this.wg('set', this.device, 'peer', other.publicKey, 'remove')
  }

  /** One value of `wg show` about its only peer. */
  async about(what: string): Promise<string> {
    const text = await this.wg('show', this.device, what)
    return text.trim().split('\t').slice(1).join('\t')
  }

  /** What ping prints, or undefined where no answer came. */
  ping(target: string, options = '-c 3 -i 0.05 -W 3'): Promise<string | undefined> {
    return this.space.sh(`ping ${options} ${target}`).catch(() => undefined)
  }

  get #keyFile(): string {
    return join(this.#folder, `${this.device}.key`)
  }
}

/** `wg` would remove a socket that is not listened on yet, as wireguard-go's is for a moment. */
const connects = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path, () => socket.destroy() && resolve(true))
    socket.on('error', () => resolve(false))
  })

export interface Relay {
  tell(line: string): Promise<void>
}

export class TunnelWorld {
  readonly netns: NetnsWorld
  readonly folder: string
  readonly #hosts: TunnelHost[] = []

  constructor(netns: NetnsWorld) {
    this.netns = netns
    this.folder = mkdtempSync(join(tmpdir(), 'drover-hosts-'))
  }

  /** Hosts 1, 2, … on wires to a router, which has the last address of each wire. */
  async hosts(
    label: string,
    engines: readonly Engine[],
  ): Promise<{ router: TestNetns; hosts: readonly TunnelHost[] }> {
    const router = await this.netns.netns(`${label}r`)
    const hosts: TunnelHost[] = []
    for (const [index, engine] of engines.entries()) {
      const number = index + 1
      const space = await this.netns.netns(`${label}${number}`)
      await this.netns.wire(space, `w0 ${outer(number)}/24`, router, `w${number} ${gateway(number)}/24`)
      await space.sh(`ip addr add ${outer6(number)}/64 dev w0 nodad`)
      await router.sh(`ip addr add ${gateway6(number)}/64 dev w${number} nodad`)
      const host = new TunnelHost(this.netns, space, this.folder, { number: this.#hosts.length + 1, engine })
      this.#hosts.push(host)
      await host.start()
      hosts.push(host)
    }
    return { router, hosts }
  }

  /** Passes on what the first two hosts of a router say to their gateways. */
  async relay(router: TestNetns, family: 4 | 6): Promise<Relay> {
    const addresses =
      family === 4
        ? [gateway(1), outer(1), gateway(2), outer(2)]
        : [gateway6(1), outer6(1), gateway6(2), outer6(2)]
    const child = this.netns.spawn(router, [process.execPath, relayProgram, ...addresses])
    const said = outputOf(child)
    await until('the relay', () => said().includes('ready'))
    let told = 0
    return {
      tell: async (line) => {
        child.stdin?.write(`${line}\n`)
        told++
        await until(line, () => said().split('done').length > told)
      },
    }
  }

  async close(): Promise<void> {
    for (const host of this.#hosts) rmSync(host.socket, { force: true })
    await this.netns.close()
    for (const host of this.#hosts) rmSync(host.socket, { force: true })
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export const outer = (number: number): string => `192.168.${70 + number}.1`
export const gateway = (number: number): string => `192.168.${70 + number}.254`
export const outer6 = (number: number): string => `fd7${number}::1`
export const gateway6 = (number: number): string => `fd7${number}::fe`
