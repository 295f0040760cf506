/**
 * What an engine's answer to `get=1` says, and the fewest lines of `set=1` that make it what it should be. Pure.
 */
import { base64, fromBase64, fromHex, hex } from '../model/bytes.ts'
import type { Peer } from './backend.ts'
import { checksumMarks, type EngineFacts, factsIn } from './engine-facts.ts'
import { marksKey } from './wireguard/uapi.ts'

export interface EnginePeer {
  /** Base64. */
  readonly publicKey: string
  endpoint: string
  lastHandshake: number
  received: number
  sent: number
  readonly allowed: string[]
  marks: boolean
  /** Base64; empty for none. */
  presharedKey: string
}

export interface EngineState {
  /** Base64; empty for none. */
  privateKey: string
  port: number
  readonly peers: EnginePeer[]
  /** Undefined where it is not our userspace engine. */
  readonly facts: EngineFacts | undefined
}

export interface OwnSide {
  /** Base64 of 32 bytes. */
  readonly privateKey: string
  readonly port: number
}

const base64Of = (text: string): string => base64(fromHex(text) ?? new Uint8Array(0))
/** How UAPI says that there is none. */
const noKey = '0'.repeat(64)
const hexOf = (key: string): string => hex(fromBase64(key) ?? new Uint8Array(0))

export function readState(answer: string): EngineState {
  const state = { privateKey: '', port: 0, peers: [] as EnginePeer[] }
  const own = new Map<string, string>()
  for (const line of answer.split('\n')) {
    const cut = line.indexOf('=')
    const [key, value] = [line.slice(0, cut), line.slice(cut + 1)]
    if (state.peers.length === 0) own.set(key, value)
    readLine(state, key, value)
  }
  return { ...state, facts: factsIn(own) }
}

function readLine(state: Omit<EngineState, 'facts'>, key: string, value: string): void {
  if (key === 'private_key') state.privateKey = base64Of(value)
  else if (key === 'listen_port') state.port = Number(value)
  else if (key === 'public_key')
    state.peers.push({
      publicKey: base64Of(value),
      endpoint: '',
      lastHandshake: 0,
      received: 0,
      sent: 0,
      allowed: [],
      marks: false,
      presharedKey: '',
    })
  else if (state.peers.length > 0) readPeerLine(state.peers[state.peers.length - 1], key, value)
}

function readPeerLine(peer: EnginePeer | undefined, key: string, value: string): void {
  if (peer === undefined) return
  if (key === 'endpoint') peer.endpoint = value
  else if (key === 'allowed_ip') peer.allowed.push(value)
  else if (key === marksKey) peer.marks = value === 'true'
  else if (key === 'preshared_key') peer.presharedKey = value === noKey ? '' : base64Of(value)
  else if (key === 'rx_bytes') peer.received = Number(value)
  else if (key === 'tx_bytes') peer.sent = Number(value)
  else if (key === 'last_handshake_time_sec') peer.lastHandshake += Number(value) * 1000
  else if (key === 'last_handshake_time_nsec') peer.lastHandshake += Math.floor(Number(value) / 1e6)
}

export const endpointText = ({ endpoint }: Peer): string =>
  endpoint.address.includes(':')
    ? `[${endpoint.address}]:${endpoint.port}`
    : `${endpoint.address}:${endpoint.port}`

/**
 * The lines from what is to what should be; none where they are the same. An endpoint is set again only when the
 * peer's record changed (`applied` holds what was set last): it may have roamed since. Marks are agreed upon with
 * an engine that knows them only: another would refuse all lines for this one.
 */
export function changesTo(
  own: OwnSide,
  peers: readonly Peer[],
  state: EngineState,
  applied: ReadonlyMap<string, string>,
): readonly string[] {
  const lines: string[] = []
  if (state.privateKey !== own.privateKey) lines.push(`private_key=${hexOf(own.privateKey)}`)
  if (state.port !== own.port) lines.push(`listen_port=${own.port}`)
  const there = new Map(state.peers.map((peer) => [peer.publicKey, peer]))
  const wanted = new Set(peers.map(({ publicKey }) => publicKey))
  for (const key of there.keys()) if (!wanted.has(key)) lines.push(`public_key=${hexOf(key)}`, 'remove=true')
  const marking = state.facts?.capabilities.includes(checksumMarks) === true
  for (const peer of peers) {
    const before = there.get(peer.publicKey)
    const changes = [
      ...peerChanges(peer, before, applied.get(peer.publicKey)),
      ...(marking && peer.marks !== (before?.marks ?? false) ? [`${marksKey}=${peer.marks}`] : []),
    ]
    if (changes.length > 0) lines.push(`public_key=${hexOf(peer.publicKey)}`, ...changes)
  }
  return lines
}

function peerChanges(
  peer: Peer,
  there: EnginePeer | undefined,
  applied: string | undefined,
): readonly string[] {
  const endpoint = endpointText(peer)
  const moved = there === undefined || there.endpoint === '' || (applied ?? there.endpoint) !== endpoint
  const same = there !== undefined && [...there.allowed].sort().join() === [...peer.allowed].sort().join()
  // Sessions go on with the key of their handshake; the next one takes the new one.
  const [is, wanted] = [there?.presharedKey ?? '', peer.presharedKey ?? '']
  return [
    ...(is === wanted ? [] : [`preshared_key=${wanted === '' ? noKey : hexOf(wanted)}`]),
    ...(moved ? [`endpoint=${endpoint}`] : []),
    ...(same ? [] : ['replace_allowed_ips=true', ...peer.allowed.map((cidr) => `allowed_ip=${cidr}`)]),
  ]
}
