/**
 * The resolver on its sockets: the same port over UDP and TCP.
 */
import type { Ipv4 } from '../model/ip.ts'
import type { Batches } from './batches.ts'
import { bindDatagrams } from './datagrams.ts'
import type { Resolver } from './resolver.ts'
import { bindStreams } from './streams.ts'

export interface DnsServer {
  readonly port: number
  close(): Promise<void>
}

/** Where one of the two sockets finds the port of the other taken, another is chosen: only if any will do. */
const tries = 5

/** Listens; the address must be on an interface of this machine already. */
export async function serveDns(
  deps: { readonly resolver: Resolver; readonly batches: Batches },
  { address, port }: { readonly address: Ipv4; readonly port: number },
): Promise<DnsServer> {
  for (let left = port === 0 ? tries : 1; ; left--) {
    try {
      return await listen(deps, address, port)
    } catch (error) {
      if (left <= 1) throw error
    }
  }
}

async function listen(
  { resolver, batches }: { readonly resolver: Resolver; readonly batches: Batches },
  address: Ipv4,
  port: number,
): Promise<DnsServer> {
  const datagrams = await bindDatagrams(batches, port)
  const streams = await bindStreams(address, datagrams.port, (bytes, from) =>
    resolver.respond(bytes, from, 'tcp'),
  ).catch(async (cause: unknown) => {
    await datagrams.close()
    throw cause
  })
  return {
    port: datagrams.port,
    close: async () => void (await Promise.all([datagrams.close(), streams.close()])),
  }
}
