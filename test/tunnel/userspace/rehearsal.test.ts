/** A rehearsal is worth something only while its packets really pass through everything. */
import { test } from 'tap'
import { instant } from '../../../model/time.ts'
import { plainSum } from '../../../tunnel/userspace/checksum.ts'
import { Coalescer } from '../../../tunnel/userspace/coalesce.ts'
import { REHEARSAL_ROOM, rehearse } from '../../../tunnel/userspace/rehearsal.ts'
import { SEGMENTER_ROOM, Segmenter } from '../../../tunnel/userspace/segment.ts'
import { Device, SCRATCH_LENGTH } from '../../../tunnel/wireguard/device.ts'
import { SeededRandom } from '../../support/ports.ts'
import { primitives } from '../../support/wireguard.ts'

test('every packet of a rehearsal arrives, and none leaves its room', async (t) => {
  const end = SCRATCH_LENGTH + SEGMENTER_ROOM + REHEARSAL_ROOM
  const bytes = new Uint8Array(end + 4096).fill(0xee)
  const view = new DataView(bytes.buffer)
  const memory = { bytes, view, sum: plainSum(view) }
  const random = new SeededRandom(1)
  const deps = { ...primitives, random, wall: () => instant(1_700_000_000_000) }
  const scratch = { memory: bytes, offset: 0, length: SCRATCH_LENGTH }
  const carried = rehearse(
    {
      memory,
      makeDevice: () => new Device(deps, { scratch }),
      crypto: primitives.crypto,
      random,
      segmenter: new Segmenter(memory, { scratch: SCRATCH_LENGTH }),
      coalescer: new Coalescer(memory, { limit: 16, pieces: 16, udp: true, completes: true }),
    },
    SCRATCH_LENGTH + SEGMENTER_ROOM,
  )
  t.equal(carried, 59 * 4)
  t.ok(bytes.subarray(end).every((byte) => byte === 0xee))
})
