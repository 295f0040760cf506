/** A rehearsal is worth something only while its packets really pass through everything. */
import { test } from 'tap'
import { instant } from '../../../model/time.ts'
import { plainSum } from '../../../tunnel/userspace/checksum.ts'
import { Inbound } from '../../../tunnel/userspace/inbound.ts'
import { Outbound } from '../../../tunnel/userspace/outbound.ts'
import { REHEARSAL_ROOM, rehearse } from '../../../tunnel/userspace/rehearsal.ts'
import { SEGMENTER_ROOM, Segmenter } from '../../../tunnel/userspace/segment.ts'
import { UNREACHABLE_ROOM, Unreachable } from '../../../tunnel/userspace/unreachable.ts'
import { Device, SCRATCH_LENGTH } from '../../../tunnel/wireguard/device.ts'
import { SeededRandom } from '../../support/ports.ts'
import { primitives } from '../../support/wireguard.ts'

const areaSize = 16_384
/** Where each part lies in the memory. */
const room = SCRATCH_LENGTH + 2 * areaSize + SEGMENTER_ROOM + UNREACHABLE_ROOM
const end = room + REHEARSAL_ROOM

test('every packet of a rehearsal arrives, every peer of a state is read, and nothing leaves its room', async (t) => {
  const bytes = new Uint8Array(end + 4096).fill(0xee)
  const view = new DataView(bytes.buffer)
  const memory = { bytes, view, sum: plainSum(view) }
  const random = new SeededRandom(1)
  const deps = { ...primitives, random, wall: () => instant(1_700_000_000_000) }
  const scratch = { memory: bytes, offset: 0, length: SCRATCH_LENGTH }
  const areas = [0, 1].map((index) => ({ at: SCRATCH_LENGTH + index * areaSize, length: areaSize }))
  const [out, back] = areas as [(typeof areas)[0], (typeof areas)[0]]
  const segmenter = new Segmenter(memory, { scratch: SCRATCH_LENGTH + 2 * areaSize })
  const unreachable = new Unreachable(memory, { room: room - UNREACHABLE_ROOM })
  const { carried, read } = rehearse(
    {
      memory,
      makeDevice: () => new Device(deps, { scratch }),
      crypto: primitives.crypto,
      random,
      outbound: (device, udp, tun) =>
        new Outbound({ memory, device, segmenter, udp, tun, unreachable }, { area: out, vnetHeader: true }),
      inbound: (tun) =>
        new Inbound({ memory, tun }, { limit: 16, pieces: 16, udp: true, completes: true, area: back }),
    },
    room,
  )
  t.equal(carried, 59)
  t.equal(read, 8 * 64)
  t.ok(bytes.subarray(end).every((byte) => byte === 0xee))
})
