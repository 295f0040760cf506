/**
 * A thread that asks one name over and over, a millisecond apart, and tells of each answer when it was asked, when
 * it came and which address it gave first: what a client sees while the zone changes.
 */
import { createSocket } from 'node:dgram'
import { parentPort, workerData } from 'node:worker_threads'
import { question } from '../../test/support/dns-messages.ts'

export interface AskerOptions {
  readonly port: number
  readonly name: string
}

/** Milliseconds since the epoch, with fractions, in all threads alike. */
export interface Answered {
  readonly sent: number
  readonly came: number
  /** Dotted; empty for an answer without an address. */
  readonly address: string
}

const now = (): number => performance.timeOrigin + performance.now()

function ask({ port, name }: AskerOptions): void {
  const socket = createSocket('udp4')
  const sent = new Map<number, number>()
  const end = question(name, 'A').length
  let id = 0
  socket.on('message', (bytes) => {
    const came = now()
    const asked = bytes.readUInt16BE(0)
    const at = sent.get(asked)
    sent.delete(asked)
    if (at === undefined) return
    const data = bytes.readUInt16BE(6) === 0 ? [] : [...bytes.subarray(end + 12, end + 16)]
    parentPort?.postMessage({ sent: at, came, address: data.join('.') } satisfies Answered)
  })
  setInterval(() => {
    id = (id + 1) & 0xffff
    sent.set(id, now())
    socket.send(question(name, 'A', { id }), port, '127.0.0.1')
  }, 1)
}

ask(workerData as AskerOptions)
