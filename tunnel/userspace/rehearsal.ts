/**
 * What a successor does while it waits for its tunnel: two devices of its own talk to each other through the same
 * code as packets will, so that it is compiled by the time that packets wait for it. Nothing leaves the memory.
 */
import type { TunDevice } from '../../linux/tun.ts'
import type { Random } from '../../model/ports.ts'
import { millis } from '../../model/time.ts'
import type { Crypto } from '../wireguard/crypto.ts'
import { type Device, HEADROOM } from '../wireguard/device.ts'
import { endpointV4 } from '../wireguard/endpoint.ts'
import { decodeState, encodeState } from '../wireguard/handover.ts'
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
/** Who only stands in the state: reading that of a tunnel with many peers takes longest before it is compiled. */
const strangers = 63
const now = millis(1)
const size = 1000
const packetLength = 40 + 4 * size
const somewhere = endpointV4(0x7f000001, 9)
const address = (last: number): Uint8Array => Uint8Array.of(10, 0, 0, last)

/** `room`: REHEARSAL_ROOM bytes at an offset of the memory. Answers how many packets came out as they went in. */
export function rehearse(deps: RehearsalDeps, room: number): number {
  const [here, there] = acquainted(deps)
  const { carry, carried } = stage(deps, here, there)
  const packet = room + HEADROOM
  for (let round = 0; round < rounds; round++) {
    writePacket(deps.memory.view, packet, round)
    if (round === 0) shakeHands(deps, here, there, packet)
    else carry(packet)
  }
  const driver = { listenPort: 0, fwmark: 0 }
  for (const each of [here, there]) {
    const decoded = decodeState(encodeState({ driver, device: each.export() }))
    if (decoded.is !== 'state') continue
    const heir = deps.makeDevice()
    heir.import(decoded.state.device)
    heir.close()
    each.close()
  }
  return carried()
}

function acquainted({ makeDevice, crypto, random }: RehearsalDeps): readonly [Device, Device] {
  const keys = [random.bytes(32), random.bytes(32)] as const
  const device = (own: 0 | 1): Device => {
    const other = own === 0 ? 1 : 0
    const allowedIps = [{ address: address(other + 1), bits: 32 }]
    const made = makeDevice()
    const peer = { publicKey: crypto.publicKey(keys[other]), endpoint: somewhere, allowedIps }
    made.configure(
      { privateKey: keys[own], peers: [peer, ...Array.from({ length: strangers }, stranger)] },
      now,
    )
    return made
  }
  const stranger = (_: unknown, index: number) => ({
    publicKey: random.bytes(32),
    endpoint: somewhere,
    allowedIps: [{ address: address(index + 3), bits: 32 }],
  })
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
