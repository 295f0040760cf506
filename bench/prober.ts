/**
 * Runs inside the network namespace of a lab host, in one process: for each name on standard input it asks the
 * host's resolver over and over until it answers with an address, then knocks at that address until a reply comes,
 * and prints one JSON line with both times (milliseconds since the epoch, monotonic between them).
 */
import { createSocket } from 'node:dgram'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

const server = '169.254.169.250'
const every = 2 // milliseconds between questions
const giveUp = 10_000 // milliseconds

const now = (): number => performance.timeOrigin + performance.now()

/** A question for the A records of a name (RFC 1035 section 4). */
function questionOf(name: string, id: number): Buffer {
  const labels = name.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)])
  const header = Buffer.alloc(12)
  header.writeUInt16BE(id, 0)
  header.writeUInt16BE(0x0100, 2)
  header.writeUInt16BE(1, 4)
  return Buffer.concat([header, ...labels, Buffer.from([0, 0, 1, 0, 1])])
}

/** The address of the first answer; our server puts the question first and compresses the owner's name. */
function addressIn(answer: Buffer, question: Buffer): string | undefined {
  if (answer.readUInt16BE(6) === 0) return undefined
  const record = question.length + 12
  if (answer.length < record + 4 || answer.readUInt16BE(question.length + 2) !== 1) return undefined
  return [...answer.subarray(record, record + 4)].join('.')
}

function resolved(name: string): Promise<{ address: string; at: number }> {
  const socket = createSocket('udp4')
  return new Promise((resolve, reject) => {
    let id = 0
    const ask = (): void => {
      id = (id + 1) & 0xffff
      socket.send(questionOf(name, id), 53, server)
    }
    const end = (): void => {
      clearInterval(asking)
      clearTimeout(late)
      socket.close()
    }
    const asking = setInterval(ask, every)
    const late = setTimeout(() => {
      end()
      reject(new TypeError(`no answer for ${name}`))
    }, giveUp)
    socket.on('message', (answer) => {
      const address = addressIn(answer, questionOf(name, 0))
      if (address === undefined) return
      end()
      resolve({ address, at: now() })
    })
    socket.on('error', () => undefined)
    ask()
  })
}

/** Nobody listens on the port: the refusal is the reply. A lost SYN would be repeated late, so a new one follows. */
function replied(address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const open = new Set<Socket>()
    const knock = (): void => {
      const socket = connect({ host: address, port: 9 })
      open.add(socket)
      socket.on('connect', done)
      socket.on('error', (error: NodeJS.ErrnoException) => {
        open.delete(socket)
        if (error.code === 'ECONNREFUSED') done()
      })
    }
    const end = (): void => {
      clearInterval(knocking)
      clearTimeout(late)
      for (const socket of open) socket.destroy()
    }
    const done = (): void => {
      end()
      resolve(now())
    }
    const knocking = setInterval(knock, every)
    const late = setTimeout(() => {
      end()
      reject(new TypeError(`no reply of ${address}`))
    }, giveUp)
    knock()
  })
}

for await (const name of createInterface({ input: process.stdin })) {
  const { address, at } = await resolved(name)
  const reply = await replied(address)
  process.stdout.write(`${JSON.stringify({ name, address, answered: at, replied: reply })}\n`)
}
