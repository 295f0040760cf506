/**
 * The packet thread of a tunnel: composes arena, TUN device, sockets, protocol and loop from the engine's options,
 * reports `ready` and blocks in the loop. The only thread that touches packets.
 */
import { randomFillSync } from 'node:crypto'
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import type { Arena } from '../../linux/arena.ts'
import { EvpContext, Libc, makeArena } from '../../linux/ffi.ts'
import { Reactor } from '../../linux/reactor.ts'
import { maxPieces, TunDevice } from '../../linux/tun.ts'
import { UdpSocket } from '../../linux/udp.ts'
import { DroverError } from '../../model/errors.ts'
import { instant, millis } from '../../model/time.ts'
import type { Aead } from '../wireguard/aead.ts'
import { Device, HEADROOM, TAILROOM } from '../wireguard/device.ts'
import { EndpointTable } from '../wireguard/endpoint.ts'
import { loadSodium } from '../wireguard/sodium.ts'
import { Commands } from './commands.ts'
import { EvpAead, proven } from './evp.ts'
import { factsOf } from './facts.ts'
import { Inbound } from './inbound.ts'
import { PacketLoop } from './loop.ts'
import type { EngineOptions, Order, Report, Switch } from './orders.ts'
import { UdpPorts } from './ports.ts'
import type { Segments } from './segment.ts'

const megabyte = 1 << 20
const arenaSize = 24 * megabyte
const tunSlots = 16
const udpSlots = 16
const batchLimit = 4096
const segmentMemory = 2 * megabyte
const scratchSize = 68_000
const socketBuffer = 7 * megabyte

export interface WorkerInput {
  readonly options: EngineOptions
  readonly wake: number
}

const bytes = (length: number): Uint8Array => randomFillSync(new Uint8Array(length))

function open(options: EngineOptions, libc: Libc) {
  const on = (name: Switch): boolean => !options.without.includes(name)
  const { interface: name, fd, persistent, mtu } = options
  const made = mtu === undefined ? {} : { mtu }
  const tun = new TunDevice(libc, {
    name,
    fd,
    persistent,
    ...made,
    tso: on('tso'),
    uso: on('uso'),
    slots: tunSlots,
  })
  const common = {
    gso: on('gso'),
    gro: on('gro'),
    gsoTail: on('gso-tail'),
    buffer: socketBuffer,
    slots: udpSlots,
  }
  const v4 = new UdpSocket(libc, { ...common, family: 4 })
  const v6 = new UdpSocket(libc, { ...common, family: 6 })
  const udp = new UdpPorts(v4, v6, batchLimit)
  udp.open(0)
  return { tun, udp, coalesces: on('coalesce') && tun.offloads.vnetHeader, openssl: on('openssl') }
}

/** OpenSSL's AEAD where this Node has it and it gives the known answer. */
function fastAead(arena: Arena): Aead | undefined {
  try {
    const aead = new EvpAead({
      arena,
      context: (scratch, keyAt, direction) => new EvpContext(arena, scratch, keyAt, direction),
    })
    return proven(aead, arena.bytes, arena.take(64)) ? aead : undefined
  } catch {
    return undefined
  }
}

async function compose({ options, wake }: WorkerInput, port: MessagePort) {
  const arena = makeArena(arenaSize)
  const libc = new Libc(arena)
  const { tun, udp, coalesces, openssl } = open(options, libc)
  const { crypto, aead: portable } = await loadSodium()
  const fast = openssl ? fastAead(arena) : undefined
  const device = new Device(
    { crypto, aead: fast ?? portable, random: { bytes }, wall: () => instant(Date.now()) },
    { scratch: { memory: arena.bytes, offset: arena.take(scratchSize), length: scratchSize } },
  )
  const woken = arena.take(8)
  const next = (): Order | undefined => {
    libc.read(wake, woken, 8)
    return receiveMessageOnPort(port)?.message
  }
  const report = (what: Report): void => port.postMessage(what)
  const facts = () =>
    factsOf({
      aead: fast === undefined ? 'libsodium' : 'openssl',
      without: options.without,
      tun: tun.offloads,
      sockets: udp.sockets,
    })
  const commands = new Commands({ device, tun, udp, next, report, facts, malformed: () => loop.malformed })
  const loop = new PacketLoop({
    memory: arena,
    device,
    tun,
    udp,
    reactor: new Reactor(libc),
    inbound: new Inbound({ memory: arena, tun }, { limit: batchLimit, pieces: coalesces ? maxPieces : 1 }),
    endpoints: new EndpointTable(),
    segments: segmentsIn(arena),
    boot: () => millis(libc.bootTime()),
    orders: { fd: wake, take: (now) => commands.take(now) },
  })
  return { loop, facts: { interface: tun.name, ...facts() }, report }
}

function segmentsIn(arena: Arena): Segments {
  const next = arena.take(segmentMemory)
  return {
    count: 0,
    next,
    end: next + segmentMemory,
    before: HEADROOM,
    after: TAILROOM + 1,
    at: new Uint32Array(batchLimit),
    length: new Uint32Array(batchLimit),
  }
}

async function run(input: WorkerInput, port: MessagePort): Promise<void> {
  try {
    const { loop, facts, report } = await compose(input, port)
    report({ is: 'ready', facts })
    report({ is: 'ended', why: loop.run() })
  } catch (thrown) {
    const why = thrown instanceof DroverError ? thrown.line : String((thrown as Error).stack)
    port.postMessage({ is: 'failed', why } satisfies Report)
  }
}

if (parentPort !== null) await run(workerData as WorkerInput, parentPort)
