/**
 * A program for tests: stands between two WireGuard peers and does to their datagrams what networks do. Arguments:
 * own address towards the first, its address, the same for the second; everybody's port is 51820. Commands, a line
 * each: `loss P`, `duplicate P`, `reorder MS`; `roam` (the second sees the first at another port from then on);
 * `replay` (all that was said since `clear`, from a port of its own); `clear`. Prints `ready`, and `done` each time.
 */
import { createSocket, type Socket } from 'node:dgram'
import { createInterface } from 'node:readline'

const port = 51_820
const [ownFirst = '', first = '', ownSecond = '', second = ''] = process.argv.slice(2)
const damage = { loss: 0, duplicate: 0, reorder: 0 }
const heard: { readonly bytes: Uint8Array; readonly to: string; readonly via: string }[] = []

function open(own: string, at: number, forward: (bytes: Uint8Array) => void): Promise<Socket> {
  const socket = createSocket(own.includes(':') ? 'udp6' : 'udp4')
  socket.on('message', (bytes) => forward(Uint8Array.from(bytes)))
  return new Promise((resolve) => socket.bind(at, own, () => resolve(socket)))
}

function pass(bytes: Uint8Array, socket: Socket, to: string, via: string): void {
  heard.push({ bytes, to, via })
  if (Math.random() < damage.loss) return
  const copies = Math.random() < damage.duplicate ? 2 : 1
  for (let copy = 0; copy < copies; copy++) {
    if (damage.reorder === 0) socket.send(bytes, port, to)
    else setTimeout(() => socket.send(bytes, port, to), Math.random() * damage.reorder)
  }
}

const toSecond = (bytes: Uint8Array): void => pass(bytes, sockets.second, second, ownSecond)
const toFirst = (bytes: Uint8Array): void => pass(bytes, sockets.first, first, ownFirst)
const sockets = { first: await open(ownFirst, port, toSecond), second: await open(ownSecond, port, toFirst) }

async function move(to: number): Promise<void> {
  if (sockets.second.address().port === to) return
  sockets.second.close()
  sockets.second = await open(ownSecond, to, toFirst)
}

async function obey(line: string): Promise<void> {
  const [command = '', value = '0'] = line.split(' ')
  if (command === 'clear') {
    Object.assign(damage, { loss: 0, duplicate: 0, reorder: 0 })
    heard.length = 0
    await move(port)
  } else if (command === 'roam') await move(0)
  else if (command === 'replay') {
    for (const { bytes, to, via } of [...heard]) {
      const stranger = await open(via, 0, () => undefined)
      await new Promise((resolve) => stranger.send(bytes, port, to, resolve))
      stranger.close()
    }
  } else Object.assign(damage, { [command]: Number(value) })
  process.stdout.write('done\n')
}

process.stdout.write('ready\n')
let last = Promise.resolve()
createInterface({ input: process.stdin })
  .on('line', (line) => {
    last = last.then(() => obey(line))
  })
  .on('close', () => process.exit())
