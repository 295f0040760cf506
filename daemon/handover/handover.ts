/**
 * What a daemon and its successor say to each other (docs/adr/0018-the-daemon-hands-over.md), and how descriptors
 * travel: by inheritance, behind those of Node.
 */
import type { DnsSockets } from '../../dns/link.ts'

/** Bound sockets of DNS and metadata. */
export interface ServerSockets {
  /** What they are bound to. */
  readonly ports: string
  readonly dns: DnsSockets
  readonly metadata: number
}

export type FromSuccessor =
  /** Everything is loaded and checked. */
  | { readonly is: 'ready' }
  /** Questions are answered. */
  | { readonly is: 'serving' }

/** Store, journal, engine and kernel are the successor's now. */
export type FromPredecessor = { readonly is: 'yours' }

/** Tells a process that it is a successor; its value is the `ports` of the sockets that it inherits. */
export const variable = 'DROVER_DAEMON_SUCCEEDS'

/** Behind standard input, output and error, and the channel. */
const firstInherited = 4

/** In the order in which they are inherited. */
export const descriptorsOf = ({ dns, metadata }: ServerSockets): readonly number[] => [
  dns.udp,
  dns.tcp,
  metadata,
]

/** The same sockets, by their numbers in the successor. */
export const inheritedSockets = (ports: string): ServerSockets => ({
  ports,
  dns: { udp: firstInherited, tcp: firstInherited + 1 },
  metadata: firstInherited + 2,
})
