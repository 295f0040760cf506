/**
 * A program that asks 169.254.169.250 for a name fifty times a second over UDP, and ten times over TCP, by a connection
 * each, until its input ends; then waits for what is still under way. Arguments: name, the only right address. Prints `first` with the first answer, and what it heard
 * as JSON at the end.
 */
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { question, readAnswer } from './dns-messages.ts'

const server = '169.254.169.250'
const [name = '', address = ''] = process.argv.slice(2)
const every = 20 // ms
const everyOverTcp = 100 // ms
const patience = 1000 // ms

const socket = createSocket('udp4')
const open = new Map<number, number>()
const wrong: string[] = []
let [sent, answered, gap] = [0, 0, 0]
let last = performance.now()

const heard = (bytes: Buffer): void => {
  const { id, answers, ...rest } = readAnswer(bytes)
  if (!open.delete(id)) return
  if (answered === 0) process.stdout.write('first\n')
  answered += 1
  gap = Math.max(gap, performance.now() - last)
  last = performance.now()
  if (answers.length !== 1 || !answers[0]?.endsWith(` ${address}`))
    wrong.push(JSON.stringify({ ...rest, answers }))
}
socket.on('message', heard)
socket.on('error', () => {})

const next = (): Buffer => {
  sent += 1
  open.set(sent & 0xffff, performance.now())
  return question(name, 'A', { id: sent & 0xffff })
}
const overTcp = (): void => {
  const asked = next()
  const length = Buffer.of(asked.length >> 8, asked.length & 0xff)
  const connection = connect(53, server, () => connection.write(Buffer.concat([length, asked])))
  connection.once('data', (bytes: Buffer) => {
    heard(bytes.subarray(2))
    connection.end()
  })
  connection.on('error', () => {})
}

const asking = setInterval(() => socket.send(next(), 53, server, () => {}), every)
const askingOverTcp = setInterval(overTcp, everyOverTcp)

process.stdin.resume().once('end', () => {
  clearInterval(asking)
  clearInterval(askingOverTcp)
  setTimeout(() => {
    process.stdout.write(`${JSON.stringify({ sent, answered, wrong, gap })}\n`, () => process.exit())
  }, patience)
})
