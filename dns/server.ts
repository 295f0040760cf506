/**
 * The resolver on its sockets: the same port over UDP and TCP, bound here or inherited from a predecessor.
 */
import { getSystemErrorName } from 'node:util'
import type { Ipv4 } from '../model/ip.ts'
import type { Batches } from './answers/batches.ts'
import type { Resolver } from './answers/resolver.ts'
import { type Datagrams, readDatagrams } from './datagrams.ts'
import type { DnsSockets } from './link.ts'
import { acceptStreams } from './streams.ts'

export interface DnsServer {
  readonly port: number
  readonly sockets: DnsSockets
  /** Answers what it has read; questions that come later are a successor's, or nobody's. */
  close(): Promise<void>
}

export interface ServerDeps {
  readonly resolver: Resolver
  readonly batches: Batches
  /** A bound TCP socket, or a negative error. */
  readonly bindTcp: (address: Ipv4, port: number) => number
}

export interface Listening {
  readonly address: Ipv4
  /** 0 for any. */
  readonly port: number
  readonly inherited?: DnsSockets | undefined
}

/** Where one of the two sockets finds the port of the other taken, another is chosen: only if any will do. */
const tries = 5

/** Listens; the address must be on an interface of this machine already. */
export async function serveDns(deps: ServerDeps, listening: Listening): Promise<DnsServer> {
  for (let left = listening.port === 0 ? tries : 1; ; left--) {
    try {
      return await listen(deps, listening)
    } catch (error) {
      if (left <= 1) throw error
    }
  }
}

async function listen(deps: ServerDeps, { address, port, inherited }: Listening): Promise<DnsServer> {
  const { batches } = deps
  const udp = inherited?.udp ?? bound(batches.open(port))
  const datagrams = await readDatagrams(batches, udp)
  const streams = await listenTcp(deps, address, datagrams, inherited?.tcp).catch(async (cause: unknown) => {
    await datagrams.close()
    throw cause
  })
  return {
    port: datagrams.port,
    sockets: { udp, tcp: streams.fd },
    close: async () => void (await Promise.all([datagrams.close(), streams.close()])),
  }
}

async function listenTcp(
  { resolver, bindTcp }: ServerDeps,
  address: Ipv4,
  { port }: Datagrams,
  inherited: number | undefined,
) {
  const fd = inherited ?? bound(bindTcp(address, port))
  const { close } = await acceptStreams(fd, (bytes, from) => resolver.respond(bytes, from, 'tcp'))
  return { fd, close }
}

function bound(fd: number): number {
  if (fd < 0) throw new DOMException(`bind ${getSystemErrorName(fd)}`, 'NetworkError')
  return fd
}
