/**
 * Runs inside a namespace: many WireGuard peers in one process, each with a key and a UDP port of its own, that
 * answer the handshakes of one engine and take what it sends. Arguments: address, first port, how many, the
 * engine's public key in base64. Prints their public keys in hex as one line of JSON, once they listen.
 */
import { randomFillSync } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { hex } from '../model/bytes.ts'
import { instant, millis } from '../model/time.ts'
import { Device, SCRATCH_LENGTH } from '../tunnel/wireguard/device.ts'
import { formatEndpoint, parseEndpoint } from '../tunnel/wireguard/endpoint.ts'
import { loadSodium } from '../tunnel/wireguard/sodium.ts'

const [address = '', firstPort = '', count = '', engine = ''] = process.argv.slice(2)
const primitives = await loadSodium()
const bytes = (length: number): Uint8Array => randomFillSync(new Uint8Array(length))
const now = () => millis(performance.now())
const memory = new Uint8Array(65_536)
const everything = [{ address: new Uint8Array(4), bits: 0 }]

async function member(port: number): Promise<string> {
  const scratch = { memory: new Uint8Array(SCRATCH_LENGTH), offset: 0, length: SCRATCH_LENGTH }
  const device = new Device(
    { ...primitives, random: { bytes }, wall: () => instant(Date.now()) },
    { scratch },
  )
  const socket = createSocket('udp4')
  const privateKey = bytes(32)
  const peer = { publicKey: new Uint8Array(Buffer.from(engine, 'base64')), allowedIps: everything }
  device.configure({ privateKey, peers: [peer] }, now())
  const flush = (): void => {
    for (let next = device.nextTransmit(now()); next; next = device.nextTransmit(now())) {
      const [to, itsPort] = formatEndpoint(next.to).split(':')
      socket.send(next.memory.slice(next.offset, next.offset + next.length), Number(itsPort), to)
    }
  }
  socket.on('message', (datagram, { address: host, port: itsPort }) => {
    memory.set(datagram)
    const from = parseEndpoint(`${host}:${itsPort}`)
    if (from !== undefined) device.receive(memory, 0, datagram.length, from, now())
    flush()
  })
  setInterval(() => {
    device.timeout(now())
    flush()
  }, 1000)
  socket.bind(port, address)
  await once(socket, 'listening')
  return hex(primitives.crypto.publicKey(privateKey))
}

const ports = Array.from({ length: Number(count) }, (_, index) => Number(firstPort) + index)
process.stdout.write(`${JSON.stringify(await Promise.all(ports.map(member)))}\n`)
process.stdin.on('end', () => process.exit()).resume()
