/**
 * The packet thread of a tunnel: composes arena, TUN device, sockets, protocol and loop from the engine's options,
 * reports `ready` and blocks in the loop. The only thread that touches packets.
 */
import { randomFillSync } from 'node:crypto'
import { flushCompileCache } from 'node:module'
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import type { Arena } from '../../linux/arena.ts'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { EvpContext, fusedPrimitives, opensslCurve, opensslPrimitives } from '../../linux/openssl.ts'
import { Reactor } from '../../linux/reactor.ts'
import { STREAM_ROOM, Stream } from '../../linux/stream.ts'
import { maxPieces, TunDevice } from '../../linux/tun.ts'
import { UdpSocket } from '../../linux/udp.ts'
import { DroverError, reasonOf } from '../../model/errors.ts'
import { instant, type Millis, millis } from '../../model/time.ts'
import { Device } from '../wireguard/device.ts'
import { EndpointTable } from '../wireguard/endpoint.ts'
import { Channel } from './channel.ts'
import { type Memory, plainSum } from './checksum.ts'
import { Commands } from './commands.ts'
import { factsOf } from './facts.ts'
import { Inbound } from './inbound.ts'
import { PacketLoop } from './loop.ts'
import { type EngineOptions, isOn, type Order, type Report } from './orders.ts'
import { Outbound, type OutboundDeps } from './outbound.ts'
import { UdpPorts } from './ports.ts'
import { choosePrimitives, type Openssl } from './primitives.ts'
import { RandomPool } from './random-pool.ts'
import { type FarEnd, REHEARSAL_ROOM, rehearse } from './rehearsal.ts'
import { SEGMENTER_ROOM, Segmenter } from './segment.ts'
import { summedMemory } from './simd-sum.ts'
import { Predecessor } from './successor.ts'
import { UNREACHABLE_ROOM, Unreachable } from './unreachable.ts'

const megabyte = 1 << 20
const arenaSize = 24 * megabyte
const tunSlots = 16
const udpSlots = 16
const batchLimit = 4096
const batchBytes = 200_000
/** Where packets are sealed and opened to. */
const areaSize = megabyte / 2
const scratchSize = 68_000
const socketBuffer = 7 * megabyte
/** Of the packet thread: it goes on where other programs take all there is of the processors. */
const packetNice = -10
/** In which a successor carries, before others have their turn, what has waited in the queues. */
const urgentRounds = 50

export interface WorkerInput {
  readonly options: EngineOptions
  readonly wake: number
}

const random = new RandomPool(randomFillSync)

function openTun(options: EngineOptions, libc: Libc): TunDevice {
  const { interface: name, persistent, mtu, inherited } = options
  return new TunDevice(libc, {
    name,
    fd: inherited?.descriptors.tun ?? options.fd,
    persistent,
    ...(mtu === undefined ? {} : { mtu }),
    tso: isOn(options, 'tso'),
    uso: isOn(options, 'uso'),
    slots: tunSlots,
    batchBytes,
  })
}

/** The sockets, not open yet. */
function portsOf(options: EngineOptions, libc: Libc): UdpPorts {
  const common = {
    gso: isOn(options, 'gso'),
    gro: isOn(options, 'gro'),
    gsoTail: isOn(options, 'gso-tail'),
    buffer: socketBuffer,
    slots: udpSlots,
  }
  const [v4, v6] = [
    new UdpSocket(libc, { ...common, family: 4 }),
    new UdpSocket(libc, { ...common, family: 6 }),
  ]
  return new UdpPorts(v4, v6, batchLimit)
}

/** Both ways that packets take, in memory of their own. */
function waysOf(options: EngineOptions, arena: Arena, memory: Memory) {
  const area = () => ({ at: arena.take(areaSize), length: areaSize })
  const areas = { out: area(), in: area() }
  const segmenter = new Segmenter(memory, { scratch: arena.take(SEGMENTER_ROOM) })
  const unreachable = new Unreachable(memory, { room: arena.take(UNREACHABLE_ROOM) })
  return {
    outbound: (device: Device, udp: OutboundDeps['udp'], tun: FarEnd): Outbound =>
      new Outbound(
        { memory, device, segmenter, udp, tun, unreachable },
        { area: areas.out, vnetHeader: tun.offloads.vnetHeader },
      ),
    inbound: (tun: FarEnd): Inbound => {
      const { vnetHeader, uso } = tun.offloads
      const pieces = isOn(options, 'coalesce') && vnetHeader ? maxPieces : 1
      return new Inbound(
        { memory, tun },
        { limit: batchLimit, pieces, udp: uso, completes: vnetHeader, area: areas.in },
      )
    },
  }
}

const opensslOf = (arena: Arena): Openssl => ({
  primitives: (fused) => (fused ? fusedPrimitives(arena) : opensslPrimitives(arena)),
  curve: () => opensslCurve(arena),
  context: (scratch, keyAt, direction) => new EvpContext(arena, scratch, keyAt, direction),
})

/** Memory whose sums are fast where this engine has SIMD. */
function makeMemory(): { readonly arena: Arena; readonly memory: Memory } {
  const summed = summedMemory(arenaSize)
  const arena = makeArena(arenaSize, summed?.buffer)
  const { bytes, view } = arena
  return { arena, memory: { bytes, view, sum: summed?.sum ?? plainSum(view) } }
}

/** How the control thread is heard and answered. */
function correspond(port: MessagePort, libc: Libc, reactor: Reactor, wake: number) {
  const woken = libc.arena.take(8)
  const next = (): Order | undefined => {
    libc.read(wake, woken, 8)
    return receiveMessageOnPort(port)?.message
  }
  const wait = (): Order => {
    for (let order = next(); ; order = next()) {
      if (order !== undefined) return order
      reactor.watch([wake])
      reactor.wait(-1)
    }
  }
  const report = (what: Report): void => port.postMessage(what)
  return { next, wait, report }
}

/** Everything that needs no descriptor, so that a successor has it before it is given any. */
async function prepare({ options, wake }: WorkerInput, port: MessagePort) {
  const { arena, memory } = makeMemory()
  const libc = new Libc(arena)
  const chosen = await choosePrimitives({ arena, openssl: opensslOf(arena) }, options)
  const { aead } = chosen.aead
  const { crypto } = chosen.crypto
  const scratch = { memory: arena.bytes, offset: arena.take(scratchSize), length: scratchSize }
  const makeDevice = (): Device =>
    new Device({ crypto, aead, random, wall: () => instant(Date.now()) }, { scratch })
  const ways = waysOf(options, arena, memory)
  const udp = portsOf(options, libc)
  if (options.inherited !== undefined)
    rehearse({ memory, makeDevice, crypto, random, ...ways }, arena.take(REHEARSAL_ROOM))
  const reactor = new Reactor(libc)
  const orders = correspond(port, libc, reactor, wake)
  const room = libc.arena.take(STREAM_ROOM)
  const channel = (fd: number): Channel => new Channel(new Stream({ libc, reactor, room }, fd))
  // The thread blocks from here on, and is killed one day.
  flushCompileCache()
  const facts = { aead: chosen.aead.name, fused: chosen.aead.fused, handshakes: chosen.crypto.name }
  return { libc, memory, facts, device: makeDevice(), reactor, ways, udp, orders, channel }
}

type Prepared = Awaited<ReturnType<typeof prepare>>

async function compose(input: WorkerInput, port: MessagePort) {
  const { inherited } = input.options
  const prepared = await prepare(input, port)
  if (inherited === undefined) return connect(input, prepared, undefined)
  const predecessor = new Predecessor(prepared.channel(inherited.channel))
  try {
    return connect(input, prepared, predecessor)
  } catch (thrown) {
    predecessor.refuse(reasonOf(thrown))
    throw thrown
  }
}

/** Opens, or takes over, what packets pass through; a predecessor is asked for its state when all else is there. */
function connect({ options, wake }: WorkerInput, prepared: Prepared, predecessor: Predecessor | undefined) {
  const { libc, memory, facts: chosen, device, reactor, ways, udp, orders, channel } = prepared
  const { inherited, without } = options
  const priority = isOn(options, 'priority') && libc.setNice(packetNice) === 0
  const tun = openTun(options, libc)
  if (inherited === undefined) udp.open(0)
  else udp.adopt(inherited.descriptors.udp4, inherited.descriptors.udp6)
  const inbound = ways.inbound(tun)
  const outbound = ways.outbound(device, udp, tun)
  const facts = () => factsOf({ ...chosen, priority, without, tun: tun.offloads, sockets: udp.sockets })
  const malformed = () => outbound.malformed + inbound.malformed
  const transmit = (now: Millis): void => loop.transmit(now)
  const hurry = (urgent: boolean): void => void libc.setUrgent(urgent)
  const give = (fd: number, state: Uint8Array): void => {
    channel(fd).say({ is: 'state', state })
    state.fill(0)
  }
  if (predecessor !== undefined) hurry(true)
  const state = predecessor?.state()
  if (state !== undefined) device.import(state.device)
  if (state !== undefined && udp.port !== state.driver.listenPort)
    throw new DroverError('TUNNEL_UNAVAILABLE', 'the port has changed meanwhile')
  const commands = new Commands(
    { device, tun, udp, ...orders, transmit, malformed, facts, give, hurry },
    state?.driver.fwmark ?? 0,
  )
  const loop = new PacketLoop({
    memory,
    device,
    tun,
    udp,
    reactor,
    inbound,
    outbound,
    endpoints: new EndpointTable(),
    boot: () => millis(libc.bootTime()),
    orders: { fd: wake, take: (now) => commands.take(now) },
  })
  if (state !== undefined) predecessor?.taken()
  orders.report({
    is: 'ready',
    facts: { interface: tun.name, ...facts() },
    heir: state !== undefined,
  })
  const run = (): 'gone' | 'stopped' => {
    if (predecessor === undefined) return loop.run()
    for (let round = 0; round < urgentRounds; round++) {
      const end = loop.round()
      if (end !== undefined) return end
    }
    hurry(false)
    return loop.run()
  }
  return { run, report: orders.report }
}

async function begin(input: WorkerInput, port: MessagePort): Promise<void> {
  try {
    const { run, report } = await compose(input, port)
    report({ is: 'ended', why: run() })
  } catch (thrown) {
    const why = thrown instanceof DroverError ? thrown.line : String((thrown as Error).stack)
    port.postMessage({ is: 'failed', why } satisfies Report)
  }
}

if (parentPort !== null) await begin(workerData as WorkerInput, parentPort)
