/**
 * Runs inside a namespace: `send ADDRESS PORT` sends datagrams at a rate, `count PORT` counts them, one order of
 * JSON per line of standard input, one answer per line. In batches over `linux/udp.ts`, without its offloads: each
 * datagram is one for the kernel, as from an ordinary program. Far cheaper than iperf3, so that the tunnel is the
 * limit and not the generator.
 */
import { createInterface } from 'node:readline'
import { Libc, makeArena } from '../linux/ffi.ts'
import { Reactor } from '../linux/reactor.ts'
import { type Outgoing, UdpSocket } from '../linux/udp.ts'

export interface SendOrder {
  /** Distinguishes the datagrams of this order from late ones of another. */
  readonly run: number
  /** Datagrams per second; 0 for as many as go. */
  readonly rate: number
  readonly millis: number
  /** Bytes of payload, at least 8. */
  readonly size: number
}
export interface CountOrder {
  readonly run: number
  /** Gives up after so many milliseconds. */
  readonly patience: number
}
export interface Sent {
  readonly sent: number
  readonly millis: number
}
/** `millis`: from the first to the last. */
export interface Counted {
  readonly counted: number
  readonly millis: number
}

const batch = 64
/** Between two batches when a rate is kept, in milliseconds. */
const tick = 0.25
const ends = 20
const kind = { data: 0, end: 1 }

const libc = new Libc(makeArena(8 << 20))
const common = { family: 4, gso: false, gro: false, gsoTail: false, buffer: 4 << 20 } as const
const sleeper = new Int32Array(new SharedArrayBuffer(4))
const pause = (millis: number): void => void Atomics.wait(sleeper, 0, 0, millis)

function makeSender(address: string, port: number): (order: SendOrder) => Sent {
  const socket = new UdpSocket(libc, { ...common, slots: 1 })
  socket.open(0)
  const at = libc.arena.take(2048)
  const to = {
    family: 4,
    bytes: Uint8Array.from([...address.split('.').map(Number), port >> 8, port & 255]),
    scope: 0,
  } as const
  const outgoing: Outgoing = {
    count: 0,
    at: new Uint32Array(batch).fill(at),
    length: new Uint32Array(batch),
    to: Array.from({ length: batch }, () => to),
  }
  const send = (count: number): number => {
    const refused = socket.refused.count
    outgoing.count = count
    socket.sendBatch(outgoing)
    return count - (socket.refused.count - refused)
  }
  return ({ run, rate, millis, size }) => {
    libc.arena.view.setUint32(at, run)
    libc.arena.view.setUint32(at + 4, kind.data)
    outgoing.length.fill(size)
    const start = performance.now()
    const sent = rate === 0 ? flood(send, start + millis) : paced(send, start, millis, rate / 1000)
    const took = performance.now() - start
    libc.arena.view.setUint32(at + 4, kind.end)
    for (let end = 0; end < ends; end++) {
      pause(3)
      send(1)
    }
    return { sent, millis: took }
  }
}

function flood(send: (count: number) => number, until: number): number {
  let sent = 0
  while (performance.now() < until) sent += send(batch)
  return sent
}

/** What is late by more than two ticks is not made up for: a burst would overflow queues that the rate does not. */
function paced(send: (count: number) => number, start: number, millis: number, perMilli: number): number {
  const most = Math.max(2, Math.ceil(perMilli * tick * 2))
  let [sent, due, last] = [0, 0, start]
  for (let now = start; now - start < millis; now = performance.now()) {
    due = Math.min(most, due + (now - last) * perMilli)
    last = now
    if (due < Math.max(1, (most * 2) / 5)) pause(tick)
    else {
      const count = Math.min(batch, Math.floor(due))
      sent += send(count)
      due -= count
    }
  }
  return sent
}

function makeCounter(port: number): (order: CountOrder) => Counted {
  const socket = new UdpSocket(libc, { ...common, slots: batch })
  socket.open(port)
  const reactor = new Reactor(libc)
  return ({ run, patience }) => {
    const { received } = socket
    const { view } = libc.arena
    const begun = performance.now()
    let [counted, first, last, ended] = [0, 0, 0, false]
    process.stdout.write('{"ready":true}\n')
    while (!ended && performance.now() - begun < patience) {
      reactor.watch([socket.fd])
      reactor.wait(50)
      const count = socket.receiveBatch()
      const before = counted
      for (let index = 0; index < count; index++) {
        const at = received.at[index] ?? 0
        if (view.getUint32(at) !== run) continue
        if (view.getUint32(at + 4) === kind.end) ended = true
        else counted++
      }
      if (counted === before) continue
      last = performance.now()
      if (before === 0) first = last
    }
    return { counted, millis: last - first }
  }
}

const [role, ...words] = process.argv.slice(2)
const work = role === 'send' ? makeSender(words[0] ?? '', Number(words[1])) : makeCounter(Number(words[0]))
for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(work(JSON.parse(line)))}\n`)
