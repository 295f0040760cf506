/**
 * An engine that is started as `wireguard-go -f NAME` is and configured with `wg`: wireguard-go and ours. Extra
 * lines of the UAPI may be said of the peer; an engine that does not know them does not start.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { must } from '../../lab/command.ts'
import { until } from '../../test/support/netns.ts'
import { UapiClient } from '../../tunnel/uapi-client.ts'
import { type Contestant, type End, fulfils, type Role, type Running, type Site } from '../tunnel-pair.ts'

export interface WireguardOptions {
  readonly name: string
  readonly role?: Role
  /** Runs the engine in the foreground for the interface whose name is appended. */
  readonly command: readonly string[]
  /** Settings of the peer besides those of WireGuard. */
  readonly peerLines?: readonly string[]
}

export interface WireguardRunning extends Running {
  /** Interfaces of `one` and `two`. */
  readonly devices: readonly [string, string]
}

interface Keys {
  readonly device: string
  readonly privateKey: string
  readonly publicKey: string
}

const port = 51_820
const sockets = '/var/run/wireguard'

export function wireguard(options: WireguardOptions): Contestant<WireguardRunning> {
  const { name, role, command, peerLines = [] } = options
  const start = async (site: Site) => {
    const [one, two] = site.ends
    site.scene.atEnd(removeSockets)
    const [mine, its] = [await keysOf(site.number, 1), await keysOf(site.number, 2)]
    const pids = [site.engine(one, [...command, mine.device]), site.engine(two, [...command, its.device])]
    await Promise.all([configure(one, mine, two, its), configure(two, its, one, mine)])
    if (peerLines.length > 0) await Promise.all([extend(mine, its, peerLines), extend(its, mine, peerLines)])
    for (const [end, { device }] of [
      [one, mine],
      [two, its],
    ] as const) {
      await end.space.sh(`ip addr add ${end.inner}/24 dev ${device}`)
      await end.space.sh(`ip link set dev ${device} up mtu 1420`)
    }
    return { target: two.inner, pids, devices: [mine.device, its.device] as const }
  }
  return { name, ...(role === undefined ? {} : { role }), start }
}

async function keysOf(number: number, own: number): Promise<Keys> {
  const privateKey = await must(['wg', 'genkey'])
  const publicKey = await must(['wg', 'pubkey'], { input: privateKey })
  return { device: deviceName(number, own), privateKey, publicKey }
}

const deviceName = (number: number, own: number): string => `dt${process.pid}x${number}${own}`

const configure = async (end: End, keys: Keys, peer: End, { publicKey }: Keys): Promise<void> => {
  const { device, privateKey } = keys
  // Not by `wg show`, which removes the socket of an engine that has bound it and does not listen yet.
  await until(`${device} answers in ${end.space.name}`, () => fulfils(uapiOf(device).get()))
  const lines = [
    '[Interface]',
    `PrivateKey = ${privateKey}`,
    `ListenPort = ${port}`,
    '[Peer]',
    `PublicKey = ${publicKey}`,
    `Endpoint = ${peer.outer}:${port}`,
    `AllowedIPs = ${peer.inner}/32`,
    '',
  ]
  // wg opens the file by its path, which a socket does not allow and a pipe does.
  await must(['sh', '-c', 'cat | wg setconf "$0" /dev/stdin', device], { input: lines.join('\n') })
}

export const uapiOf = (device: string): UapiClient => new UapiClient(`${sockets}/${device}.sock`)

const extend = ({ device }: Keys, { publicKey }: Keys, lines: readonly string[]): Promise<void> =>
  uapiOf(device).set([
    `public_key=${Buffer.from(publicKey, 'base64').toString('hex')}`,
    'update_only=true',
    ...lines,
  ])

/** Sockets that killed engines leave behind. */
function removeSockets(): void {
  for (const name of existsSync(sockets) ? readdirSync(sockets) : [])
    if (name.startsWith(`dt${process.pid}x`)) rmSync(`${sockets}/${name}`, { force: true })
}
