/**
 * A program that asks 169.254.169.250 for a name fifty times a second until its input ends, then waits for what is
 * still under way. Arguments: name, the only right address. Prints `first` with the first answer, and what it heard
 * as JSON at the end.
 */
import { createSocket } from 'node:dgram'
import { question, readAnswer } from './dns-messages.ts'

const [name = '', address = ''] = process.argv.slice(2)
const every = 20 // ms
const patience = 1000 // ms

const socket = createSocket('udp4')
const open = new Map<number, number>()
const wrong: string[] = []
let [sent, answered, gap] = [0, 0, 0]
let last = performance.now()

socket.on('message', (bytes) => {
  const { id, answers, ...rest } = readAnswer(bytes)
  if (!open.delete(id)) return
  if (answered === 0) process.stdout.write('first\n')
  answered += 1
  gap = Math.max(gap, performance.now() - last)
  last = performance.now()
  if (answers.length !== 1 || !answers[0]?.endsWith(` ${address}`))
    wrong.push(JSON.stringify({ ...rest, answers }))
})
socket.on('error', () => {})

const asking = setInterval(() => {
  sent += 1
  open.set(sent & 0xffff, performance.now())
  socket.send(question(name, 'A', { id: sent & 0xffff }), 53, '169.254.169.250', () => {})
}, every)

process.stdin.resume().once('end', () => {
  clearInterval(asking)
  setTimeout(() => {
    process.stdout.write(`${JSON.stringify({ sent, answered, wrong, gap })}\n`, () => process.exit())
  }, patience)
})
