/**
 * A TCP transfer of some seconds between two network namespaces, as a program at each end: what arrives is counted
 * by the receiver. Both programs end with the input that their starter holds.
 */
import type { ChildProcess } from 'node:child_process'
import { until } from './netns.ts'

/** Counts what a connection brings, and says so at its end. */
const sink = `
  process.stdin.resume().on('end', () => process.exit())
  require('net').createServer({ allowHalfOpen: true }, (socket) => {
    let count = 0
    socket.on('data', (chunk) => { count += chunk.length }).on('end', () => socket.end(String(count)))
  }).listen(Number(process.argv[1]), () => console.log('ready'))`

/** Five megabytes a second; then prints what the other side counted. */
const source = `
  process.stdin.resume().on('end', () => process.exit())
  const [address, port, from, megabytes] = process.argv.slice(1)
  const socket = require('net').connect({ host: address, port: Number(port), localAddress: from || undefined })
  const piece = Buffer.alloc(100_000)
  let left = megabytes * 10
  const send = () => {
    if (left-- === 0) return socket.end()
    socket.write(piece, () => setTimeout(send, 20))
  }
  socket.on('connect', () => { console.log('connected'); send() }).on('data', (text) => console.log('' + text))
  socket.on('error', (error) => { console.log(error.code); process.exit() })`

/** Starts a program in the namespace of one end, its input and output piped. */
export type Start = (argv: readonly string[]) => ChildProcess | undefined

export interface TransferEnds {
  readonly receiver: Start
  readonly sender: Start
  /** Of the receiver. */
  readonly address: string
  readonly from?: string
  readonly megabytes: number
}

let port = 5400

/** Returns once it is under way; resolves then with how many bytes arrived. */
export async function transfer(ends: TransferEnds, patience: number): Promise<() => Promise<number>> {
  const { address, from = '', megabytes } = ends
  const at = String(++port)
  const said = { receiver: '', sender: '' }
  const start = (who: 'receiver' | 'sender', ...argv: string[]): void => {
    ends[who]([process.execPath, '-e', ...argv])?.stdout?.on('data', (chunk) => {
      said[who] += String(chunk)
    })
  }
  start('receiver', sink, at)
  await until('a listener', () => said.receiver.includes('ready'))
  start('sender', source, address, at, from, String(megabytes))
  await until('a connection', () => said.sender.includes('connected'))
  return () =>
    until('the end of the transfer', () => Number(/\d+/.exec(said.sender)?.[0]) || undefined, patience)
}
