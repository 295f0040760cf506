/**
 * A program for tests: initiations of strangers, each with a good mac1, at one device. Arguments: address, port, its
 * public key (hex), how many a second. Prints what came back: `answered TYPE LENGTH`, each pair once, until its
 * input ends.
 */
import { createSocket } from 'node:dgram'
import { CookieJar } from '../../tunnel/wireguard/cookie.ts'
import { encodeInitiation } from '../../tunnel/wireguard/messages.ts'
import { bytes } from './wireguard.ts'

const [address = '', port = '', publicKey = '', rate = ''] = process.argv.slice(2)
const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
const jar = new CookieJar(bytes(publicKey))
const seen = new Set<string>()

function initiation(): Uint8Array {
  const random = (length: number) => globalThis.crypto.getRandomValues(new Uint8Array(length))
  const message = encodeInitiation({
    sender: Math.floor(Math.random() * 2 ** 32),
    ephemeral: random(32),
    sealedStatic: random(48),
    sealedTimestamp: random(28),
  })
  jar.stamp(message, 0)
  return message
}

socket.on('message', (answer) => {
  const line = `answered ${answer[0]} ${answer.length}\n`
  if (!seen.has(line)) process.stdout.write(line)
  seen.add(line)
})
setInterval(() => {
  for (let each = 0; each < Number(rate) / 50; each++) socket.send(initiation(), Number(port), address)
}, 20)
process.stdin.resume().on('end', () => process.exit())
process.stdout.write('ready\n')
