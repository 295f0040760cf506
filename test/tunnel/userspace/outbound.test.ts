/**
 * Where sealed datagrams lie: end to end where lengths allow, inside of their area, and none of them damaged by
 * sealing the next, which may use everything that its contract gives it.
 */
import { test } from 'tap'
import { millis } from '../../../model/time.ts'
import { plainSum } from '../../../tunnel/userspace/checksum.ts'
import { Outbound, type OutboundDeps } from '../../../tunnel/userspace/outbound.ts'
import { SEGMENTER_ROOM, Segmenter } from '../../../tunnel/userspace/segment.ts'
import { UNREACHABLE_ROOM, Unreachable } from '../../../tunnel/userspace/unreachable.ts'
import { HEADROOM, TAILROOM } from '../../../tunnel/wireguard/device.ts'
import { endpointV4 } from '../../../tunnel/wireguard/endpoint.ts'
import { TRANSPORT_HEADER } from '../../../tunnel/wireguard/messages.ts'
import { SeededRandom } from '../../support/ports.ts'

const random = new SeededRandom(3)
const areaSize = 8192
const packet = areaSize + 1024
const room = packet + 4096
const bytes = new Uint8Array(room + SEGMENTER_ROOM + UNREACHABLE_ROOM)
const view = new DataView(bytes.buffer)
const memory = { bytes, view, sum: plainSum(view) }
const tag = 16
const to = endpointV4(0x7f000001, 9)

/** Seals by random bytes, and fills with others what a device may use around them. */
class Careless {
  readonly sealed = { offset: 0, length: 0, to }
  takesMarks = (): boolean => false
  send: OutboundDeps['device']['send'] = (_memory, _offset, length, _now, _mark, into = 0) => {
    const offset = into - TRANSPORT_HEADER
    bytes.set(random.bytes(HEADROOM + length + TAILROOM), into - HEADROOM)
    Object.assign(this.sealed, { offset, length: TRANSPORT_HEADER + length + tag })
    kept.push(bytes.slice(offset, offset + this.sealed.length))
    return 'sealed'
  }
}

const kept: Uint8Array[] = []
const queued: (readonly [at: number, length: number])[] = []
let flushed = 0

function flush(): void {
  for (const [index, [at, length]] of queued.entries())
    if (Buffer.compare(bytes.subarray(at, at + length), kept[index] ?? bytes) === 0) flushed++
  kept.length = 0
  queued.length = 0
}

const outbound = new Outbound(
  {
    memory,
    device: new Careless(),
    segmenter: new Segmenter(memory, { scratch: room }),
    udp: { add: (at, length) => void queued.push([at, length]), flush },
    tun: { writeBatch: () => 'works' },
    unreachable: new Unreachable(memory, { room: room + SEGMENTER_ROOM }),
  },
  { area: { at: 0, length: areaSize }, vnetHeader: false },
)

test('datagrams lie end to end where the next can begin at a multiple of four', async (t) => {
  for (const length of [1420, 1420, 700, 1421, 60]) outbound.take(packet, length, millis(0))
  const gaps = queued
    .slice(1)
    .map(([at], index) => at - (queued[index]?.[0] ?? 0) - (queued[index]?.[1] ?? 0))
  t.same(gaps.slice(0, 3), [0, 0, 0])
  t.ok((gaps[3] ?? 0) >= HEADROOM)
  outbound.flush()
})

test('whatever their lengths, all that was sealed is sent, and nothing lies outside of the area', async (t) => {
  const outside = bytes.slice(areaSize, packet)
  const count = 3000
  flushed = 0
  for (let round = 0; round < count; round++)
    outbound.take(packet, random.below(2) === 0 ? 1420 : random.below(1421), millis(0))
  outbound.flush()
  t.equal(flushed, count)
  t.same(bytes.slice(areaSize, packet), outside)
})
