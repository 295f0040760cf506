/**
 * What a successor does while it waits for its tunnel: two devices of its own talk to each other through the same
 * code as packets will, and it reads the state of a tunnel with many peers, so that all that is compiled by the time
 * that packets wait for it. Nothing leaves the memory.
 */
import type { TunDevice } from '../../linux/tun.ts'
import type { Random } from '../../model/ports.ts'
import { millis } from '../../model/time.ts'
import type { Crypto } from '../wireguard/crypto.ts'
import { type Device, HEADROOM } from '../wireguard/device.ts'
import { endpointV4 } from '../wireguard/endpoint.ts'
import { type DeviceState, decodeState, encodeState } from '../wireguard/handover.ts'
import type { Memory } from './checksum.ts'
import type { Inbound } from './inbound.ts'
import type { Outbound, OutboundDeps } from './outbound.ts'
import { gso, virtioHeaderSize, writeVirtio } from './virtio.ts'

export interface RehearsalDeps {
  readonly memory: Memory
  /** A fresh device on that memory. */
  readonly makeDevice: () => Device
  readonly crypto: Crypto
  readonly random: Random
  /** The ways that packets will take, with other ends. */
  readonly outbound: (device: Device, udp: OutboundDeps['udp'], tun: FarEnd) => Outbound
  readonly inbound: (tun: FarEnd) => Inbound
}

/** What is needed of a TUN device to write to it. */
export type FarEnd = Pick<TunDevice, 'writeBatch' | 'offloads'>

/** Bytes of the memory that a rehearsal needs. */
export const REHEARSAL_ROOM = 8192

const rounds = 60
/** Peers of a state that is read, and how often that is. */
const crowd = { peers: 64, times: 8 }
const now = millis(1)
const size = 1000
const packetLength = 40 + 4 * size
const somewhere = endpointV4(0x7f000001, 9)
const address = (last: number): Uint8Array => Uint8Array.of(10, 0, 0, last)

/** `room`: REHEARSAL_ROOM bytes at an offset of the memory. Answers how many packets came out as they went in, and peers were read. */
export function rehearse(deps: RehearsalDeps, room: number): Rehearsed {
  const [here, there] = acquainted(deps)
  const { carry, carried } = stage(deps, here, there)
  const packet = room + HEADROOM
  for (let round = 0; round < rounds; round++) {
    writePacket(deps.memory.view, packet, round)
    if (round === 0) shakeHands(deps, here, there, packet)
    else carry(packet)
  }
  const state = crowded(here.export(), crowd.peers, deps.random)
  let read = 0
  for (let time = 0; time < crowd.times; time++) {
    const heir = hand(state, deps.makeDevice())
    read += heir.status().peers.length
    heir.close()
  }
  for (const each of [here, there]) each.close()
  return { carried: carried(), read }
}

interface Rehearsed {
  readonly carried: number
  readonly read: number
}

const driver = { listenPort: 0, fwmark: 0 }

/** Many peers like the only one. */
function crowded(state: DeviceState, many: number, random: Random): DeviceState {
  const peers = state.peers.flatMap((peer) =>
    Array.from({ length: many }, (_, index) => ({
      ...peer,
      publicKey: random.bytes(32),
      allowedIps: [{ address: address(index + 2), bits: 32 }],
      current: peer.current && { ...peer.current, localIndex: index },
    })),
  )
  return { ...state, peers }
}

/** Into an heir, as between two processes. */
function hand(state: DeviceState, heir: Device): Device {
  const decoded = decodeState(encodeState({ driver, device: state }))
  if (decoded.is === 'state') heir.import(decoded.state.device)
  return heir
}

function acquainted({ makeDevice, crypto, random }: RehearsalDeps): readonly [Device, Device] {
  const keys = [random.bytes(32), random.bytes(32)] as const
  const device = (own: 0 | 1): Device => {
    const other = own === 0 ? 1 : 0
    const allowedIps = [{ address: address(other + 1), bits: 32 }]
    const made = makeDevice()
    const peer = { publicKey: crypto.publicKey(keys[other]), endpoint: somewhere, allowedIps }
    made.configure({ privateKey: keys[own], peers: [peer] }, now)
    return made
  }
  return [device(0), device(1)]
}

/** The packet waits for the session that it asks for. */
function shakeHands({ memory }: RehearsalDeps, here: Device, there: Device, packet: number): void {
  here.send(memory.bytes, packet, packetLength, now)
  for (let step = 0; step < 3; step++)
    for (const [from, to] of [
      [here, there],
      [there, here],
    ] as const)
      for (let next = from.nextTransmit(now); next !== undefined; next = from.nextTransmit(now))
        to.receive(memory.bytes, next.offset, next.length, somewhere, now)
}

/** Both ways, end to end: what is cut and sealed here is opened there and put together again. */
function stage({ memory, outbound, inbound }: RehearsalDeps, here: Device, there: Device) {
  let carried = 0
  const writeBatch: TunDevice['writeBatch'] = ({ count, end, length }) => {
    const whole = length.subarray(0, end[0]).reduce((sum, piece) => sum + piece, 0)
    if (count === 1 && whole === packetLength) carried++
    return 'works'
  }
  const tun = { writeBatch, offloads: { vnetHeader: true, tso: true, uso: true } }
  const back = inbound(tun)
  const sealed: (readonly [at: number, length: number])[] = []
  const udp: OutboundDeps['udp'] = {
    add: (at, length) => sealed.push([at, length]),
    flush: () => {
      for (const [at, length] of sealed.splice(0)) {
        const into = back.place(at, length)
        if (there.receive(memory.bytes, at, length, somewhere, now, into) === 'packet') back.add(there.packet)
      }
      back.write()
    },
  }
  const way = outbound(here, udp, tun)
  const carry = (packet: number): void => {
    way.take(packet, packetLength, now)
    way.flush()
  }
  return { carry, carried: () => carried }
}

/** A TCP packet of four segments, as a TUN device with offloads gives it. */
function writePacket(view: DataView, at: number, round: number): void {
  writeVirtio(view, at - virtioHeaderSize, gso.tcpV4, size, 40, 20, 16)
  for (let index = 0; index < 40; index += 4) view.setUint32(at + index, 0)
  view.setUint16(at, 0x4500)
  view.setUint16(at + 2, packetLength)
  view.setUint16(at + 8, 0x4006)
  view.setUint32(at + 12, 0x0a000001)
  view.setUint32(at + 16, 0x0a000002)
  view.setUint32(at + 24, round * 4 * size)
  view.setUint16(at + 32, 0x5010)
}
