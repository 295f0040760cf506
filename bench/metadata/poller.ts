/**
 * Long polls of many clients from one process. Arguments: address, count, path, media type. Says `{"sent":N}` when all are sent,
 * then when the first and the last answer had come (`process.hrtime`, the machine's monotonic clock). Ends then.
 */
import { connect, type Socket } from 'node:net'

const [host = '', count = '1', path = '', accept = '*/*'] = process.argv.slice(2)
const wanted = Number(count)
const atOnce = 200
const request = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nAccept: ${accept}\r\n\r\n`
const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`)

let answered = 0
let first: bigint | undefined
let failed = 0

function answer(socket: Socket): void {
  first ??= process.hrtime.bigint()
  answered += 1
  socket.removeAllListeners('data').resume()
  if (answered === wanted) say({ first: String(first), last: String(process.hrtime.bigint()), failed })
}

function poll(): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(80, host, () => socket.write(request, () => resolve()))
    socket.once('data', (chunk: Buffer) => {
      if (!chunk.toString('latin1', 0, 12).startsWith('HTTP/1.1 200')) failed += 1
      answer(socket)
    })
    socket.on('error', () => {
      failed += 1
      answer(socket)
      resolve()
    })
  })
}

for (let left = wanted; left > 0; left -= atOnce)
  await Promise.all(Array.from({ length: Math.min(left, atOnce) }, poll))
say({ sent: wanted })
process.stdin.resume().on('end', () => process.exit())
