/**
 * A successor that misbehaves as its last argument says, for tests of the predecessor. It speaks the channel's
 * frames and touches none of the descriptors.
 */
import { closeSync, readSync, writeSync } from 'node:fs'
import { encodeFrame, type Frame } from '../../tunnel/userspace/handover.ts'
import { HANDOVER_VERSIONS } from '../../tunnel/wireguard/handover.ts'

const channel = 3
const say = (frame: Frame): number => writeSync(channel, encodeFrame(frame))

/** Returns once something has come: how much, 0 at the end. */
function hear(): number {
  for (;;) {
    try {
      return readSync(channel, Buffer.alloc(1 << 16))
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EAGAIN') throw thrown
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  }
}

const acts: Readonly<Record<string, () => void>> = {
  'knows another version': () => {
    say({ is: 'ready', reads: [9] })
    hear()
  },
  'dies at once': () => undefined,
  'dies with the state': () => {
    say({ is: 'ready', reads: HANDOVER_VERSIONS })
    hear()
  },
  refuses: () => {
    say({ is: 'ready', reads: HANDOVER_VERSIONS })
    hear()
    say({ is: 'refused', why: 'not today' })
    hear()
  },
  hangs: () => {
    say({ is: 'ready', reads: HANDOVER_VERSIONS })
    while (hear() > 0);
  },
  'closes the channel': () => {
    closeSync(channel)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000)
  },
  'speaks garbage': () => {
    writeSync(channel, Buffer.alloc(64, 0xff))
    hear()
  },
}

acts[process.argv.at(-1) ?? '']?.()
