/**
 * A client that takes what it can get: so many connections, every fourth of each kind silent, slow with its request, slow
 * with its answers, and busy. Arguments: address, connections. Says how they went once all are open or refused, goes on
 * until its input ends.
 */
import { connect } from 'node:net'

const [host = '', count] = process.argv.slice(2)
const head = `Host: ${host}\r\nAccept: application/json\r\n\r\n`
const small = `GET /latest/version HTTP/1.1\r\n${head}`
const large = `GET /latest HTTP/1.1\r\n${head}`
const went = { opened: 0, refused: 0, failed: 0 }

function open(at: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(80, host, () => {
      went.opened += 1
      if (at % 4 === 1) socket.write('GET /latest HT')
      else if (at % 4 === 2) socket.pause().write(large.repeat(50))
      else if (at % 4 === 3) socket.write(small.repeat(50))
      setTimeout(resolve, 20)
    })
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1')
      if (text.startsWith('HTTP/1.1 429')) went.refused += 1
      else if (at % 4 === 3 && socket.writable) socket.write(small)
    })
    socket.on('error', () => {
      went.failed += 1
      resolve()
    })
  })
}

for (let at = 0; at < Number(count); at += 250)
  await Promise.all(Array.from({ length: Math.min(250, Number(count) - at) }, (_, more) => open(at + more)))
process.stdout.write(`${JSON.stringify(went)}\n`)
process.stdin.resume().on('end', () => process.exit())
