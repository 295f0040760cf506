/**
 * WireGuard's cross-platform configuration protocol as a pure codec: bytes in, operations out; status in, text
 * out. It knows no socket; a driver feeds what it reads and writes back what `render…` returns. A set is taken as
 * a whole or, with the errno of its first fault, not at all. One operation is ours alone: `replace=1` with the words
 * of a command line, `argument=…` each, asks the process to give its tunnel to a successor.
 */
import { fromHex, hex } from '../../model/bytes.ts'
import { ipv6Bytes, parseIpv4 } from '../../model/ip.ts'
import type { AllowedIpChange, DeviceChange, DeviceStatus, PeerChange, PeerStatus } from './change.ts'
import { KEY_LENGTH } from './constants.ts'
import { formatAddress, formatEndpoint, parseEndpoint, type ZoneOf } from './endpoint.ts'

/** Linux errno values; answers carry them negated, as wireguard-go does. */
export const errno = { io: 5, busy: 16, invalid: 22, protocol: 71, portInUse: 98 } as const

/** `bad`: answer with its errno; `broken`: not this protocol at all, close the connection. */
export type UapiOperation =
  | { readonly is: 'get' }
  | { readonly is: 'set'; readonly change: DeviceChange }
  | { readonly is: 'replace'; readonly command: readonly string[] }
  | { readonly is: 'bad'; readonly errno: number }
  | { readonly is: 'broken' }

export interface DriverStatus {
  /** 0 while it is not bound. */
  readonly listenPort: number
  /** 0 for none. */
  readonly fwmark: number
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] }

interface PeerDraft extends Writable<PeerChange> {
  allowedIps: AllowedIpChange[]
}

interface Draft extends Writable<Omit<DeviceChange, 'peers'>> {
  readonly peers: PeerDraft[]
}

const MAX_LINE = 4096
/** Of one set operation; 10^5 peers fit. */
const MAX_OPERATION = 64 * 1024 * 1024

/** One per connection. */
export class UapiReader {
  #rest = ''
  #state: 'idle' | 'get' | 'set' | 'replace' | 'broken' = 'idle'
  #draft: Draft = { peers: [] }
  #command: string[] = []
  #fault: number | undefined
  #length = 0
  readonly #zoneOf: ZoneOf | undefined

  constructor(zoneOf?: ZoneOf) {
    this.#zoneOf = zoneOf
  }

  /** Takes what was read, in pieces of any size; answers the operations that are complete, in order. */
  push(chunk: Uint8Array): readonly UapiOperation[] {
    const operations: UapiOperation[] = []
    const lines = (this.#rest + Buffer.from(chunk).toString('latin1')).split('\n')
    this.#rest = lines.pop() ?? ''
    if (this.#rest.length > MAX_LINE) lines.push(this.#rest)
    for (const line of lines) {
      if (this.#state === 'broken') break
      const operation = this.#take(line)
      if (operation !== undefined) operations.push(operation)
    }
    if (this.#state === 'broken') this.#rest = ''
    return operations
  }

  #take(line: string): UapiOperation | undefined {
    this.#length += line.length + 1
    if (line.length > MAX_LINE || this.#length > MAX_OPERATION) return this.#break()
    if (this.#state === 'set') return line === '' ? this.#finish() : this.#takeSetting(line)
    if (this.#state === 'get') {
      this.#state = 'idle'
      this.#length = 0
      return line === '' ? { is: 'get' } : { is: 'bad', errno: errno.invalid }
    }
    if (this.#state === 'replace') return this.#takeArgument(line)
    if (line === 'get=1') this.#state = 'get'
    else if (line === 'set=1') this.#state = 'set'
    else if (line === 'replace=1') this.#state = 'replace'
    else return this.#break()
    return undefined
  }

  #break(): UapiOperation {
    this.#state = 'broken'
    return { is: 'broken' }
  }

  #takeArgument(line: string): UapiOperation | undefined {
    if (line.startsWith('argument=')) {
      this.#command.push(Buffer.from(line.slice('argument='.length), 'latin1').toString())
      return undefined
    }
    const command = this.#command
    this.#state = 'idle'
    this.#length = 0
    this.#command = []
    return line === '' && command.length > 0
      ? { is: 'replace', command }
      : { is: 'bad', errno: errno.invalid }
  }

  #takeSetting(line: string): undefined {
    if (this.#fault !== undefined) return
    const cut = line.indexOf('=')
    if (cut < 1) this.#fault = errno.protocol
    else if (!applySetting(this.#draft, line.slice(0, cut), line.slice(cut + 1), this.#zoneOf))
      this.#fault = errno.invalid
  }

  #finish(): UapiOperation {
    const operation: UapiOperation =
      this.#fault === undefined ? { is: 'set', change: this.#draft } : { is: 'bad', errno: this.#fault }
    this.#state = 'idle'
    this.#draft = { peers: [] }
    this.#fault = undefined
    this.#length = 0
    return operation
  }
}

const keyOf = (text: string): Uint8Array | undefined => fromHex(text, KEY_LENGTH)

function numberOf(text: string, limit: number): number | undefined {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  return value <= limit ? value : undefined
}

const onlyTrue = (text: string): true | undefined => (text === 'true' ? true : undefined)

const yesOrNo = (text: string): boolean | undefined =>
  text === 'true' || (text === 'false' ? false : undefined)

/** Ours, beyond what others know: whether the peer understands marks in the reserved bytes. */
export const marksKey = 'drover_marks'

/** `10.0.0.0/8`; with `-` in front it is taken away. */
function allowedIpOf(text: string): AllowedIpChange | undefined {
  const remove = text.startsWith('-')
  const [base = '', digits = '', ...more] = (remove ? text.slice(1) : text).split('/')
  const v4 = parseIpv4(base)
  const address =
    v4 === undefined ? ipv6Bytes(base) : Uint8Array.from([24, 16, 8, 0], (shift) => (v4 >>> shift) & 255)
  if (address === undefined || base.includes('%') || more.length > 0) return undefined
  const bits = numberOf(digits, address.length * 8)
  if (bits === undefined) return undefined
  return remove ? { address, bits, remove } : { address, bits }
}

/** Reads the value and stores it; false where there is none. */
function store<T>(value: T | undefined, into: (value: T) => void): boolean {
  if (value !== undefined) into(value)
  return value !== undefined
}

/** One `key=value` line; false where either is not known. */
function applySetting(draft: Draft, key: string, value: string, zoneOf: ZoneOf | undefined): boolean {
  if (key === 'public_key')
    return store(keyOf(value), (publicKey) => draft.peers.push({ publicKey, allowedIps: [] }))
  const peer = draft.peers.at(-1)
  return peer === undefined ? applyToDevice(draft, key, value) : applyToPeer(peer, key, value, zoneOf)
}

function applyToDevice(draft: Draft, key: string, value: string): boolean {
  switch (key) {
    case 'private_key':
      return store(keyOf(value), (privateKey) => Object.assign(draft, { privateKey }))
    case 'listen_port':
      return store(numberOf(value, 0xffff), (listenPort) => Object.assign(draft, { listenPort }))
    case 'fwmark':
      return store(numberOf(value, 0xffffffff), (fwmark) => Object.assign(draft, { fwmark }))
    case 'replace_peers':
      return store(onlyTrue(value), (replacePeers) => Object.assign(draft, { replacePeers }))
    default:
      return false
  }
}

function applyToPeer(peer: PeerDraft, key: string, value: string, zoneOf: ZoneOf | undefined): boolean {
  switch (key) {
    case 'update_only':
      return store(onlyTrue(value), (updateOnly) => Object.assign(peer, { updateOnly }))
    case 'remove':
      return store(onlyTrue(value), (remove) => Object.assign(peer, { remove }))
    case 'preshared_key':
      return store(keyOf(value), (presharedKey) => Object.assign(peer, { presharedKey }))
    case 'endpoint':
      return store(parseEndpoint(value, zoneOf), (endpoint) => Object.assign(peer, { endpoint }))
    case 'persistent_keepalive_interval':
      return store(numberOf(value, 0xffff), (seconds) =>
        Object.assign(peer, { persistentKeepalive: seconds }),
      )
    case 'replace_allowed_ips':
      return store(onlyTrue(value), (all) => Object.assign(peer, { replaceAllowedIps: all, allowedIps: [] }))
    case 'allowed_ip':
      return store(allowedIpOf(value), (prefix) => peer.allowedIps.push(prefix))
    case 'protocol_version':
      return value === '1'
    case marksKey:
      return store(yesOrNo(value), (marks) => Object.assign(peer, { marks }))
    default:
      return false
  }
}

/** The whole answer to `get=1`, with its `errno=0`. `facts` are lines of ours; `wg` leaves unknown keys out. */
export function renderStatus(
  status: DeviceStatus,
  driver: DriverStatus,
  facts: readonly string[] = [],
): string {
  const lines = [...facts]
  if (status.privateKey !== undefined) lines.push(`private_key=${hex(status.privateKey)}`)
  if (driver.listenPort !== 0) lines.push(`listen_port=${driver.listenPort}`)
  if (driver.fwmark !== 0) lines.push(`fwmark=${driver.fwmark}`)
  for (const peer of status.peers) lines.push(...peerLines(peer))
  return `${lines.map((line) => `${line}\n`).join('')}${renderErrno(0)}`
}

function peerLines(peer: PeerStatus): readonly string[] {
  return [
    `public_key=${hex(peer.publicKey)}`,
    `preshared_key=${hex(peer.presharedKey)}`,
    'protocol_version=1',
    ...(peer.endpoint === undefined ? [] : [`endpoint=${formatEndpoint(peer.endpoint)}`]),
    `last_handshake_time_sec=${Math.floor(peer.lastHandshake / 1000)}`,
    `last_handshake_time_nsec=${(peer.lastHandshake % 1000) * 1_000_000}`,
    `tx_bytes=${peer.sentBytes}`,
    `rx_bytes=${peer.receivedBytes}`,
    `persistent_keepalive_interval=${peer.persistentKeepalive}`,
    ...peer.allowedIps.map(({ address, bits }) => `allowed_ip=${formatAddress(address)}/${bits}`),
    ...(peer.marks ? [`${marksKey}=true`] : []),
  ]
}

/** The whole answer to `set=1`, and to whatever failed. */
export const renderErrno = (code: number): string => `errno=${code === 0 ? 0 : -code}\n\n`
