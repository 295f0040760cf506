/**
 * What a successor does while it waits for its tunnel: two devices of its own talk to each other through the same
 * code as packets will, so that it is compiled by the time that packets wait for it. Nothing leaves the memory.
 */
import type { Random } from '../../model/ports.ts'
import { millis } from '../../model/time.ts'
import type { Crypto } from '../wireguard/crypto.ts'
import { type Device, HEADROOM, TAILROOM } from '../wireguard/device.ts'
import { endpointV4 } from '../wireguard/endpoint.ts'
import { decodeState, encodeState } from '../wireguard/handover.ts'
import type { Memory } from './checksum.ts'
import type { Coalescer } from './coalesce.ts'
import type { Segmenter } from './segment.ts'
import { gso, virtioHeaderSize, writeVirtio } from './virtio.ts'

export interface RehearsalDeps {
  readonly memory: Memory
  /** A fresh device on that memory. */
  readonly makeDevice: () => Device
  readonly crypto: Crypto
  readonly random: Random
  readonly segmenter: Segmenter
  readonly coalescer: Coalescer
}

/** Bytes of the memory that a rehearsal needs. */
export const REHEARSAL_ROOM = 16_384

const rounds = 60
const now = millis(1)
const size = 1000
const packetLength = 40 + 4 * size
const slot = HEADROOM + size + 40 + TAILROOM + 64
const somewhere = endpointV4(0x7f000001, 9)
const address = (last: number): Uint8Array => Uint8Array.of(10, 0, 0, last)

/** `room`: REHEARSAL_ROOM bytes at an offset of the memory. Answers how many packets came through. */
export function rehearse(deps: RehearsalDeps, room: number): number {
  let carried = 0
  const [here, there] = acquainted(deps)
  const packet = room + HEADROOM
  for (let round = 0; round < rounds; round++) {
    writePacket(deps.memory.view, packet, round)
    if (round === 0) shakeHands(deps, here, there, packet)
    else carried += carry(deps, here, there, packet)
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
  return carried
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

/** Cut, sealed, opened and put together again. */
function carry(
  { memory, segmenter, coalescer }: RehearsalDeps,
  here: Device,
  there: Device,
  packet: number,
): number {
  let carried = 0
  let next = packet + packetLength + TAILROOM + HEADROOM
  if (!segmenter.begin(packet, packetLength, here.takesMarks(memory.bytes, packet, packetLength))) return 0
  while (segmenter.next()) {
    if (here.send(memory.bytes, segmenter.at, segmenter.length, now, segmenter.mark, next) !== 'sealed')
      return carried
    const { offset, length } = here.sealed
    const result = there.receive(memory.bytes, offset, length, somewhere, now, next + slot)
    if (result === 'packet' && coalescer.add(there.packet.offset, there.packet.length, false)) carried++
    next += slot
  }
  coalescer.finish()
  return carried
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
