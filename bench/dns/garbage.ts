/**
 * Runs inside a namespace: `garbage ADDRESS` sends what is no question, or a broken one, to port 53 as fast as it
 * goes until its input ends; then prints how many datagrams a second that were.
 */
import { Libc, makeArena } from '../../linux/ffi.ts'
import { type Outgoing, UdpSocket } from '../../linux/udp.ts'
import { question } from '../../test/support/dns-messages.ts'
import { SeededRandom } from '../../test/support/ports.ts'

const batch = 64
const [address = ''] = process.argv.slice(2)
const random = new SeededRandom(7)
const libc = new Libc(makeArena(8 << 20))
const options = { family: 4, gso: false, gro: false, gsoTail: false, buffer: 4 << 20, slots: 1 } as const
const socket = new UdpSocket(libc, options)
socket.open(0)

/** Random bytes, and questions with a few bytes of them changed or with their end cut off. */
function garbage(index: number): Uint8Array {
  const [length = 0, cut = 0, ...places] = random.bytes(8)
  if (index % 2 === 0) return random.bytes(length)
  const broken = question(`name${index}.shop.rancher.internal`, 'A', { edns: 1232 })
  for (const place of places) broken[place % broken.length] = random.bytes(1)[0] ?? 0
  return index % 4 === 1 ? broken : broken.subarray(0, cut % broken.length)
}

const to = {
  family: 4,
  bytes: Uint8Array.from([...address.split('.').map(Number), 0, 53]),
  scope: 0,
} as const
const outgoing: Outgoing = {
  count: batch,
  at: new Uint32Array(batch),
  length: new Uint32Array(batch),
  to: Array.from({ length: batch }, () => to),
}
for (let index = 0; index < batch; index++) {
  const bytes = garbage(index)
  const at = libc.arena.take(256)
  libc.arena.bytes.set(bytes, at)
  outgoing.at[index] = at
  outgoing.length[index] = bytes.length
}

let ended = false
process.stdin.resume().once('end', () => {
  ended = true
})
const began = performance.now()
let sent = 0
function send(): void {
  for (let round = 0; round < 16; round++) socket.sendBatch(outgoing)
  sent += 16 * batch
  if (!ended) setImmediate(send)
  else
    process.stdout.write(
      `${Math.round((sent - socket.refused.count) / ((performance.now() - began) / 1000))}\n`,
    )
}
send()
