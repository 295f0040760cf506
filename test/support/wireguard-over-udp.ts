/**
 * A program for tests: one device over a UDP socket of Node, in whatever namespace it is started. It pings
 * 10.0.0.2 through the tunnel, answers pings to 10.0.0.1, and prints a line for each. `jump MS` makes it older.
 * Arguments: private key, the peer's public key (hex), own port, the peer's port, both on 127.0.0.1.
 */
import { createSocket } from 'node:dgram'
import { instant, millis } from '../../model/time.ts'
import { Device, SCRATCH_LENGTH } from '../../tunnel/wireguard/device.ts'
import { formatEndpoint, parseEndpoint } from '../../tunnel/wireguard/endpoint.ts'
import { bytes, primitives, v4 } from './wireguard.ts'

const [privateKey = '', peerKey = '', ownPort = '', peerPort = ''] = process.argv.slice(2)
const scratch = { memory: new Uint8Array(SCRATCH_LENGTH), offset: 0, length: SCRATCH_LENGTH }
const random = { bytes: (length: number) => globalThis.crypto.getRandomValues(new Uint8Array(length)) }
const device = new Device({ ...primitives, random, wall: () => instant(Date.now()) }, { scratch })
const socket = createSocket('udp4')
const memory = new Uint8Array(4096)
let jumped = 0
const now = () => millis(performance.now() + jumped)

function put(to: string, datagram: Uint8Array): void {
  const [address, port] = to.split(':')
  socket.send(datagram, Number(port), address)
}

function flush(): void {
  for (let next = device.nextTransmit(now()); next; next = device.nextTransmit(now()))
    put(formatEndpoint(next.to), next.memory.slice(next.offset, next.offset + next.length))
}

function send(packet: Uint8Array): void {
  memory.set(packet, 64)
  if (device.send(memory, 64, packet.length, now()) === 'sealed') {
    const { offset, length, to } = device.sealed
    put(formatEndpoint(to), memory.slice(offset, offset + length))
  }
  flush()
}

function checksum(packet: Uint8Array, from: number, to: number): number {
  let sum = 0
  for (let at = from; at < to; at += 2) sum += ((packet[at] ?? 0) << 8) | (packet[at + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16)
  return ~sum & 0xffff
}

function echoRequest(): Uint8Array {
  const packet = new Uint8Array(84)
  const view = new DataView(packet.buffer)
  packet.set([0x45, 0, 0, 84, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 8])
  view.setUint16(10, checksum(packet, 0, 20))
  view.setUint16(22, checksum(packet, 20, 84))
  return packet
}

/** The answer to an echo request: addresses swapped, type 0, its checksum made anew. */
function echoReply(request: Uint8Array): Uint8Array {
  const reply = request.slice()
  reply.set(request.subarray(12, 16), 16)
  reply.set(request.subarray(16, 20), 12)
  reply.set([0, 0, 0, 0], 20)
  new DataView(reply.buffer).setUint16(22, checksum(reply, 20, reply.length))
  return reply
}

socket.on('message', (datagram, { address, port }) => {
  memory.set(datagram)
  const from = parseEndpoint(`${address}:${port}`)
  const result = from && device.receive(memory, 0, datagram.length, from, now())
  if (result === 'packet') {
    const { offset, length } = device.packet
    const packet = memory.slice(offset, offset + length)
    process.stdout.write(packet[20] === 8 ? 'asked\n' : 'answered\n')
    if (packet[20] === 8) send(echoReply(packet))
  }
  flush()
})

socket.bind(Number(ownPort), '127.0.0.1', () => {
  const endpoint = parseEndpoint(`127.0.0.1:${peerPort}`)
  const peer = { publicKey: bytes(peerKey), allowedIps: [v4(2)] }
  device.configure({ privateKey: bytes(privateKey), peers: [endpoint ? { ...peer, endpoint } : peer] }, now())
  process.stdout.write('ready\n')
})
process.stdin.on('data', (chunk) => {
  const [, by] = /^jump (\d+)/.exec(String(chunk)) ?? []
  if (by === undefined) return send(echoRequest())
  jumped += Number(by)
  process.stdout.write('older\n')
})
process.stdin.on('end', () => process.exit())
setInterval(() => {
  device.timeout(now())
  flush()
}, 50)
