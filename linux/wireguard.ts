/**
 * The kernel's WireGuard by generic netlink (uapi/linux/wireguard.h): a device is read whole and changed in pieces
 * that each fit into a message. It makes and removes no device, `ip.ts` does; what it is not told stays.
 */
import {
  attribute,
  attributeMap,
  attributesIn,
  listed,
  textBytes,
  unsigned,
  unsignedIn,
} from './attributes.ts'
import { errors } from './ffi.ts'
import type { GenericNetlink } from './netlink.ts'

export interface KernelPrefix {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array
  readonly bits: number
}

export interface KernelEndpoint {
  readonly family: 4 | 6
  /** Address and port, in network order. */
  readonly bytes: Uint8Array
  readonly port: number
  readonly scope: number
}

export interface KernelPeer {
  readonly publicKey: Uint8Array
  readonly presharedKey: Uint8Array
  readonly endpoint: KernelEndpoint | undefined
  /** In seconds. */
  readonly persistentKeepalive: number
  /** Milliseconds since the epoch; 0 for never. */
  readonly lastHandshake: number
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly allowedIps: readonly KernelPrefix[]
}

export interface KernelDevice {
  readonly privateKey: Uint8Array | undefined
  readonly publicKey: Uint8Array | undefined
  readonly listenPort: number
  readonly fwmark: number
  readonly peers: readonly KernelPeer[]
}

export interface KernelPeerChange {
  readonly publicKey: Uint8Array
  readonly remove?: boolean
  readonly updateOnly?: boolean
  readonly presharedKey?: Uint8Array
  readonly endpoint?: Omit<KernelEndpoint, 'port'>
  readonly persistentKeepalive?: number
  readonly replaceAllowedIps?: boolean
  readonly allowedIps?: readonly KernelPrefix[]
}

export interface KernelChange {
  readonly privateKey?: Uint8Array
  readonly listenPort?: number
  readonly fwmark?: number
  readonly replacePeers?: boolean
  readonly peers: readonly KernelPeerChange[]
}

export interface Wireguard {
  /** Whether this kernel has it; makes nothing but may load the module. */
  available(): boolean
  /** Whether a device of this name is the kernel's WireGuard. */
  exists(name: string): boolean
  /** Undefined where there is no such device. */
  read(name: string): KernelDevice | undefined
  /** Answers an errno, 0 for none. What comes before a piece that is refused has happened. */
  change(name: string, change: KernelChange): number
}

const familyName = 'wireguard'
const command = { get: 0, set: 1 }
const device = { name: 2, privateKey: 3, publicKey: 4, flags: 5, listenPort: 6, fwmark: 7, peers: 8 }
const peer = {
  publicKey: 1,
  presharedKey: 2,
  flags: 3,
  endpoint: 4,
  keepalive: 5,
  lastHandshake: 6,
  received: 7,
  sent: 8,
  allowedIps: 9,
}
const prefix = { family: 1, address: 2, bits: 3 }
const flag = { replacePeers: 1, remove: 1, replaceAllowedIps: 2, updateOnly: 4 }
const inet = { 4: 2, 6: 10 }
/** So many prefixes of 44 bytes fit into a request of 32 KiB. */
const prefixesPerMessage = 500

export class NetlinkWireguard implements Wireguard {
  readonly #netlink: GenericNetlink

  constructor(deps: { readonly netlink: GenericNetlink }) {
    this.#netlink = deps.netlink
  }

  available(): boolean {
    return this.#netlink.family(familyName) !== undefined
  }

  exists(name: string): boolean {
    return this.#messagesOf(name) !== undefined
  }

  read(name: string): KernelDevice | undefined {
    const messages = this.#messagesOf(name)
    return messages && deviceOf(messages)
  }

  change(name: string, change: KernelChange): number {
    const family = this.#netlink.family(familyName)
    if (family === undefined) return errors.ENODEV
    for (const attributes of requestsOf(name, change)) {
      const answer = this.#netlink.request({ family, command: command.set, attributes, kind: 'do' })
      if (answer.is === 'refused') return answer.errno
    }
    return 0
  }

  #messagesOf(name: string): readonly Uint8Array[] | undefined {
    const family = this.#netlink.family(familyName)
    if (family === undefined) return undefined
    const attributes = attribute(device.name, textBytes(name))
    const answer = this.#netlink.request({ family, command: command.get, attributes, kind: 'dump' })
    return answer.is === 'done' ? answer.messages : undefined
  }
}

/** The settings of the device first, then each peer by itself, its prefixes in as many pieces as they need. */
export function requestsOf(name: string, change: KernelChange): readonly Uint8Array[] {
  const named = attribute(device.name, textBytes(name))
  const { privateKey, listenPort, fwmark, replacePeers, peers } = change
  const settings = [
    ...(replacePeers ? [attribute(device.flags, unsigned(flag.replacePeers, 4))] : []),
    ...(privateKey === undefined ? [] : [attribute(device.privateKey, privateKey)]),
    ...(listenPort === undefined ? [] : [attribute(device.listenPort, unsigned(listenPort, 2))]),
    ...(fwmark === undefined ? [] : [attribute(device.fwmark, unsigned(fwmark, 4))]),
  ]
  const own = settings.length === 0 ? [] : [settings]
  const each = peers.flatMap(piecesOf).map((piece) => [listed(device.peers, [piece])])
  return [...own, ...each].map((attributes) => Buffer.concat([named, ...attributes]))
}

function piecesOf(change: KernelPeerChange): readonly (readonly Uint8Array[])[] {
  const { publicKey, remove, updateOnly, replaceAllowedIps, allowedIps = [] } = change
  const key = attribute(peer.publicKey, publicKey)
  const flags =
    (remove ? flag.remove : 0) |
    (replaceAllowedIps ? flag.replaceAllowedIps : 0) |
    (updateOnly ? flag.updateOnly : 0)
  const first = [
    key,
    ...(flags === 0 ? [] : [attribute(peer.flags, unsigned(flags, 4))]),
    ...(change.presharedKey === undefined ? [] : [attribute(peer.presharedKey, change.presharedKey)]),
    ...(change.endpoint === undefined ? [] : [attribute(peer.endpoint, socketAddress(change.endpoint))]),
    ...(change.persistentKeepalive === undefined
      ? []
      : [attribute(peer.keepalive, unsigned(change.persistentKeepalive, 2))]),
    ...prefixList(allowedIps.slice(0, prefixesPerMessage)),
  ]
  const pieces: (readonly Uint8Array[])[] = [first]
  const later = updateOnly ? [key, attribute(peer.flags, unsigned(flag.updateOnly, 4))] : [key]
  for (let at = prefixesPerMessage; at < allowedIps.length; at += prefixesPerMessage)
    pieces.push([...later, ...prefixList(allowedIps.slice(at, at + prefixesPerMessage))])
  return pieces
}

const prefixList = (prefixes: readonly KernelPrefix[]): readonly Uint8Array[] =>
  prefixes.length === 0
    ? []
    : [
        listed(
          peer.allowedIps,
          prefixes.map(({ address, bits }) => [
            attribute(prefix.family, unsigned(address.length === 4 ? inet[4] : inet[6], 2)),
            attribute(prefix.address, address),
            attribute(prefix.bits, unsigned(bits, 1)),
          ]),
        ),
      ]

/** `sockaddr_in` or `sockaddr_in6`. */
function socketAddress({ family, bytes, scope }: Omit<KernelEndpoint, 'port'>): Uint8Array {
  const made = new Uint8Array(family === 4 ? 16 : 28)
  const view = new DataView(made.buffer)
  view.setUint16(0, inet[family], true)
  made.set(bytes.subarray(-2), 2)
  made.set(bytes.subarray(0, -2), family === 4 ? 4 : 8)
  if (family === 6) view.setUint32(24, scope, true)
  return made
}

function endpointIn(payload: Uint8Array | undefined): KernelEndpoint | undefined {
  const family = unsignedIn(payload?.subarray(0, 2)) === inet[6] ? 6 : 4
  if (payload === undefined || payload.length < (family === 4 ? 16 : 28)) return undefined
  const at = family === 4 ? 4 : 8
  const bytes = new Uint8Array([
    ...payload.subarray(at, at + (family === 4 ? 4 : 16)),
    ...payload.subarray(2, 4),
  ])
  const port = (payload[2] ?? 0) * 256 + (payload[3] ?? 0)
  return { family, bytes, port, scope: family === 6 ? unsignedIn(payload.subarray(24, 28)) : 0 }
}

/** The device that the messages of a dump describe; a peer may be spread over several. */
export function deviceOf(messages: readonly Uint8Array[]): KernelDevice {
  const settings = new Map<number, Uint8Array>()
  const peers: KernelPeer[] = []
  for (const message of messages) {
    for (const { type, payload } of attributesIn(message)) {
      if (type !== device.peers) settings.set(type, payload)
      else for (const item of attributesIn(payload)) addPeer(peers, attributeMap(item.payload))
    }
  }
  return {
    privateKey: settings.get(device.privateKey),
    publicKey: settings.get(device.publicKey),
    listenPort: unsignedIn(settings.get(device.listenPort)),
    fwmark: unsignedIn(settings.get(device.fwmark)),
    peers,
  }
}

/** The next part of the last peer, or another one. */
function addPeer(peers: KernelPeer[], found: ReadonlyMap<number, Uint8Array>): void {
  const publicKey = found.get(peer.publicKey) ?? new Uint8Array(32)
  const allowedIps = attributesIn(found.get(peer.allowedIps) ?? new Uint8Array(0)).map(({ payload }) =>
    prefixIn(attributeMap(payload)),
  )
  const last = peers.at(-1)
  if (last !== undefined && Buffer.from(last.publicKey).equals(publicKey))
    peers[peers.length - 1] = { ...last, allowedIps: [...last.allowedIps, ...allowedIps] }
  else peers.push({ ...peerIn(publicKey, found), allowedIps })
}

function peerIn(publicKey: Uint8Array, found: ReadonlyMap<number, Uint8Array>) {
  const handshake = found.get(peer.lastHandshake)
  return {
    publicKey,
    presharedKey: found.get(peer.presharedKey) ?? new Uint8Array(32),
    endpoint: endpointIn(found.get(peer.endpoint)),
    persistentKeepalive: unsignedIn(found.get(peer.keepalive)),
    lastHandshake:
      unsignedIn(handshake?.subarray(0, 8)) * 1000 + Math.floor(unsignedIn(handshake?.subarray(8, 16)) / 1e6),
    receivedBytes: unsignedIn(found.get(peer.received)),
    sentBytes: unsignedIn(found.get(peer.sent)),
  }
}

const prefixIn = (found: ReadonlyMap<number, Uint8Array>): KernelPrefix => ({
  address: found.get(prefix.address) ?? new Uint8Array(4),
  bits: unsignedIn(found.get(prefix.bits)),
})
