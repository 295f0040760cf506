/**
 * Hosts with a charon each in network namespaces: one environment, its CA, an identity and a certificate per host, a
 * wire to a router. The daemon's part is what `daemon/peers/ipsec-engine.ts` composes. Needs root; ends with `close`.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { resolveConfig } from '../../daemon/config/resolve.ts'
import { configSchema, nothingSet } from '../../daemon/config/schema.ts'
import { composeIpsec, type Ipsec, type IpsecDeps } from '../../daemon/peers/ipsec-engine.ts'
import type { DroverError } from '../../model/errors.ts'
import { type Cidr, parseCidr } from '../../model/ip.ts'
import type { Log } from '../../model/ports.ts'
import { type Instant, instant } from '../../model/time.ts'
import { type Uuid, uuidOf } from '../../model/uuid.ts'
import { type Authority, loadOrCreateAuthority } from '../../pki/authority.ts'
import type { Certificate } from '../../pki/certificate.ts'
import { type HostIdentity, loadOrCreateIdentity } from '../../pki/identity.ts'
import type { Peer } from '../../tunnel/backend.ts'
import { charonProgram, endCharon } from '../../tunnel/ipsec/charon-place.ts'
import type { Esp } from '../../tunnel/ipsec/connections.ts'
import { ifIdsOf, xfrmInterfaceOf } from '../../tunnel/ipsec/if-id.ts'
import { ViciClient } from '../../tunnel/ipsec/vici-client.ts'
import { isRoot, NetnsWorld, type TestNetns, until } from './netns.ts'
import { MemoryLog, MemoryMeter } from './ports.ts'
import { realClock } from './real-clock.ts'

export const environmentName = 'default'
export const environmentUuid: Uuid = uuidOf('test', 'ipsec')
const subnet = parseCidr('10.42.0.0/16') as Cidr

/** For tap's `skip` option. */
export const needsIpsec: { skip?: string } = !isRoot
  ? { skip: 'needs root for network namespaces' }
  : charonProgram() === undefined
    ? { skip: 'needs charon-systemd' }
    : {}

export interface HostWish {
  readonly number: number
  readonly esp: Esp
  /** When its certificate was made. */
  readonly certified?: Instant
  /** Who made it, where that is not the environment's CA. */
  readonly by?: Authority
  /** What the daemon gives as its key, where that is not the host's. */
  readonly key?: string
  /** Its charon sees another file in place of one of the system's. */
  readonly instead?: { readonly of: string; readonly file: string }
  /** Of IKE; 4500 unless said. */
  readonly port?: number
}

export class IpsecHost {
  readonly number: number
  readonly space: TestNetns
  readonly folder: string
  readonly identity: HostIdentity
  readonly esp: Esp
  readonly log: MemoryLog = new MemoryLog()
  readonly meter = new MemoryMeter()
  certificate: string
  readonly authority: Authority
  readonly port: number
  /** Whom it believes. */
  authorities: readonly Certificate[]
  fault: DroverError | undefined
  readonly #key: string | undefined
  readonly #within: readonly string[]
  #daemon: { readonly ipsec: Ipsec; readonly running: Promise<void> } | undefined
  ups = 0

  constructor(space: TestNetns, folder: string, authority: Authority, wish: HostWish) {
    this.number = wish.number
    this.esp = wish.esp
    this.space = space
    this.folder = folder
    this.authority = authority
    this.port = wish.port ?? 4500
    this.authorities = [authority.certificate]
    this.identity = loadOrCreateIdentity(join(folder, 'state'))
    this.#key = wish.key
    this.#within = wish.instead === undefined ? [] : inPlace(wish.instead)
    this.certificate = (wish.by ?? authority).issueHost(
      this.identity.id,
      this.identity.signingKey,
      wish.certified ?? instant(Date.now()),
    ).pem
  }

  get outer(): string {
    return `192.168.77.${this.number}`
  }

  get block(): Cidr {
    return `10.42.${this.number}.0/26` as Cidr
  }

  get managed(): string {
    return `10.42.${this.number}.1`
  }

  get socket(): string {
    return join(this.folder, 'run', 'charon.vici')
  }

  get backend() {
    return this.#ipsec.backend
  }

  /** The device that its charon has now. */
  get device(): string | undefined {
    return this.#ipsec.device()
  }

  get #ipsec(): Ipsec {
    if (this.#daemon === undefined) throw new Error('no daemon runs')
    return this.#daemon.ipsec
  }

  /** As the daemon would: finds charon or starts it. */
  async start(): Promise<void> {
    const before = this.ups
    this.begin()
    await until(`charon of host ${this.number}`, () => this.ups > before, 120_000)
  }

  /** The same, without waiting for charon. */
  begin(): void {
    const input = configSchema.parse({
      ...nothingSet(),
      state: join(this.folder, 'state'),
      run: join(this.folder, 'run'),
      tunnel: { ...nothingSet().tunnel, ipsecPort: this.port },
    })
    const config = resolveConfig(input, { hostname: `h${this.number}`, address: this.outer })
    const ipsec = composeIpsec(
      {
        runner: this.space.runner,
        trust: this.#trust(),
        onTrouble: (fault) => {
          this.fault = fault
        },
        clock: realClock,
        log: this.log as Log,
        meter: this.meter,
      },
      config,
      {
        identity: { ...this.identity, tlsKey: () => this.#key ?? this.identity.tlsKey() },
        settings: { name: environmentName, subnet },
        esp: this.esp,
        external: false,
        within: ['nsenter', `--net=${this.space.path}`, ...this.#within],
      },
    )
    const running = ipsec.keeper.run(() => {
      this.ups++
    })
    this.#daemon = { ipsec, running }
  }

  /** The daemon ends; charon goes on. */
  async stop(): Promise<void> {
    const daemon = this.#daemon
    if (daemon === undefined) return
    this.#daemon = undefined
    daemon.ipsec.keeper.close()
    await daemon.running
    await daemon.ipsec.backend.close()
  }

  /** A connection of the test's own. */
  vici(): Promise<ViciClient> {
    return ViciClient.open(this.socket)
  }

  /** The processes that are charon of this host. */
  pids(): readonly number[] {
    const wanted = `STRONGSWAN_CONF=${join(this.folder, 'state', 'ipsec', 'strongswan.conf')}`
    return readdirSync('/proc')
      .map(Number)
      .filter(Number.isInteger)
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(wanted)
        } catch {
          return false // it has just ended
        }
      })
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const pids = this.pids()
    for (const pid of pids) process.kill(pid, signal)
    await until('charon ended', () => pids.every((pid) => !this.pids().includes(pid)))
  }

  async close(): Promise<void> {
    await this.stop()
    if (this.pids().length > 0) await this.kill()
  }

  /** As it is whenever the daemon asks. */
  #trust(): IpsecDeps['trust'] {
    const host = this
    return {
      get trust() {
        return { environment: environmentUuid, authorities: host.authorities, revoked: new Set<string>() }
      },
      get certificate() {
        return host.certificate
      },
    }
  }
}

/** Words that run a program in a mount namespace of its own, where a file lies over another. */
const inPlace = ({ of, file }: { readonly of: string; readonly file: string }): readonly string[] => [
  'unshare',
  '--mount',
  'sh',
  '-ec',
  'mount --bind "$1" "$2"; shift 2; exec "$@"',
  'sh',
  file,
  of,
]

/** The CA of the environment, made where it is not there. */
export const authorityIn = (folder: string): Authority =>
  loadOrCreateAuthority(folder, {
    environment: { name: environmentName, uuid: environmentUuid },
    passphrase: undefined,
    now: instant(Date.now()),
  })

const folderName = 'drover-ipsec-'

/** Folders whose owner is dead: its charons outlive it. */
function leftovers(): readonly string[] {
  const mine = new RegExp(`^${folderName}(\\d+)-`)
  return readdirSync(tmpdir())
    .filter((name) => {
      const owner = mine.exec(name)?.[1]
      return owner !== undefined && !existsSync(`/proc/${owner}`)
    })
    .map((name) => join(tmpdir(), name))
}

export class IpsecWorld {
  readonly netns: NetnsWorld
  readonly folder = mkdtempSync(join(tmpdir(), `${folderName}${process.pid}-`))
  readonly authority: Authority
  readonly #hosts: IpsecHost[] = []
  #underlay: TestNetns | undefined

  private constructor(netns: NetnsWorld) {
    this.netns = netns
    this.authority = authorityIn(join(this.folder, 'ca'))
  }

  static async open(): Promise<IpsecWorld> {
    for (const folder of leftovers()) {
      for (const host of readdirSync(folder)) await endCharon(join(folder, host, 'state/ipsec'), realClock)
      rmSync(folder, { recursive: true, force: true })
    }
    return new IpsecWorld(await NetnsWorld.open())
  }

  /** A host on the underlay, with its managed address on `lo`; its charon is not started. */
  async host(wish: HostWish): Promise<IpsecHost> {
    const { number } = wish
    const space = await this.netns.netns(`i${number}`)
    const underlay = await this.#net()
    await underlay.sh(`ip link add p${number} type veth peer name eth0 netns ${space.name}`)
    await underlay.sh(`ip link set dev p${number} master br0 up`)
    await space.sh('ip link set dev eth0 up')
    await space.sh('ip route add unreachable 10.42.0.0/16 metric 4278198272')
    return this.beside({ space }, wish)
  }

  /** Another Drover on the machine of a host, with addresses of its own; its `port` must be another. */
  async beside({ space }: Pick<IpsecHost, 'space'>, wish: HostWish): Promise<IpsecHost> {
    const { number } = wish
    await space.sh(`ip addr add 192.168.77.${number}/24 dev eth0`)
    await space.sh(`ip addr add 10.42.${number}.1/32 dev lo`)
    const host = new IpsecHost(space, join(this.folder, `h${number}`), this.authority, wish)
    this.#hosts.push(host)
    return host
  }

  /** The same host as a daemon that wants another ESP; its charon stays. */
  sibling(host: IpsecHost, esp: Esp): IpsecHost {
    const { number, space, folder } = host
    const twin = new IpsecHost(space, folder, this.authority, { number, esp })
    this.#hosts.push(twin)
    return twin
  }

  async #net(): Promise<TestNetns> {
    if (this.#underlay !== undefined) return this.#underlay
    const space = await this.netns.netns('inet')
    await space.sh('ip link add br0 type bridge')
    await space.sh('ip link set dev br0 up')
    this.#underlay = space
    return space
  }

  async close(): Promise<void> {
    for (const host of this.#hosts) await host.close()
    await this.netns.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export const peerOf = (host: IpsecHost, over: Partial<Peer> = {}): Peer => ({
  host: host.identity.id,
  publicKey: host.identity.wireguardKey,
  endpoint: { address: host.outer, port: 51_820 },
  allowed: [host.block],
  marks: false,
  ipsec: { port: host.port, esp: host.esp },
  ...over,
})

/** The interface of a peer and the route into it, as the daemon makes them. */
export async function connect(host: IpsecHost, other: IpsecHost): Promise<void> {
  if (host.esp === 'userspace') {
    await host.space.sh(`ip route replace ${other.block} dev ipsec0 src ${host.managed}`)
    return
  }
  const ifId = ifIdsOf(environmentName, [other.identity.id]).get(other.identity.id)
  if (ifId === undefined) throw new Error('no if_id')
  const name = xfrmInterfaceOf(ifId)
  for (const line of [
    `ip link add ${name} type xfrm if_id ${ifId}`,
    `ip link set dev ${name} mtu 1400 up`,
    `ip route replace ${other.block} dev ${name} src ${host.managed}`,
  ])
    await host.space.sh(line)
}

/** Whether a ping from one host's managed address to the other's is answered. */
export async function pings(from: IpsecHost, to: IpsecHost): Promise<boolean> {
  const { status } = await from.space.runner.attempt(['ping', '-c1', '-W1', '-I', from.managed, to.managed])
  return status === 0
}
