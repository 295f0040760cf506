/**
 * The resolver on its sockets: the same port over UDP and TCP.
 */
import { DroverError, reasonOf } from '../model/errors.ts'
import { formatIpv4, type Ipv4 } from '../model/ip.ts'
import { bindDatagrams, type Datagram, type Datagrams } from './datagrams.ts'
import type { Resolver } from './resolver.ts'
import { bindStreams, type Streams } from './streams.ts'

export interface DnsServer {
  readonly port: number
  close(): Promise<void>
}

/** Listens; the address must be on an interface of this machine already. */
export async function serveDns(
  { resolver }: { readonly resolver: Resolver },
  { address, port }: { readonly address: Ipv4; readonly port: number },
): Promise<DnsServer> {
  let datagrams: Datagrams | undefined
  let streams: Streams | undefined
  try {
    datagrams = await bindDatagrams(address, port, (batch, socket) => answerBatch(resolver, batch, socket))
    streams = await bindStreams(address, datagrams.port, (bytes, from) =>
      resolver.respond(bytes, from, 'tcp'),
    )
  } catch (cause) {
    await datagrams?.close()
    const where = `${formatIpv4(address)} port ${port}`
    throw new DroverError('DNS_ADDRESS', `${where}: ${reasonOf(cause)}`, { cause })
  }
  const sockets = [datagrams, streams]
  return {
    port: datagrams.port,
    close: async () => void (await Promise.all(sockets.map((socket) => socket.close()))),
  }
}

/** What is known is answered in one batch; the rest when it comes. */
function answerBatch(resolver: Resolver, batch: readonly Datagram[], socket: Datagrams): void {
  const ready: Datagram[] = []
  for (const { bytes, address, port } of batch) {
    const answer = resolver.respond(bytes, address, 'udp')
    if (answer instanceof Promise)
      void answer.then((message) => socket.send([{ bytes: message, address, port }]))
    else if (answer !== undefined) ready.push({ bytes: answer, address, port })
  }
  if (ready.length > 0) socket.send(ready)
}
