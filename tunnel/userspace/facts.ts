/**
 * What a running engine can say of itself: which of its offloads are in use at this moment, and why the others
 * are not. Pure.
 */
import { checksumMarks, type EngineFacts, type Offload, type OffloadState } from '../engine-facts.ts'
import type { Switch } from './orders.ts'

interface Socket {
  /** Negative while it is not open. */
  readonly fd: number
  readonly gso: boolean
  readonly gro: boolean
}

export interface Running {
  readonly aead: string
  readonly handshakes: string
  /** Whether a packet takes one call of the AEAD. */
  readonly fused: boolean
  /** Whether the packet thread goes before others. */
  readonly priority: boolean
  readonly without: readonly Switch[]
  readonly tun: { readonly vnetHeader: boolean; readonly tso: boolean; readonly uso: boolean }
  /** IPv4's, then IPv6's. */
  readonly sockets: readonly Socket[]
}

export function factsOf({ aead, handshakes, fused, priority, without, tun, sockets }: Running): EngineFacts {
  const open = sockets.filter(({ fd }) => fd >= 0)
  const state = (name: Offload, works: boolean, needs: readonly Switch[] = []): OffloadState => {
    if ([name, ...needs].some((one) => without.includes(one))) return 'off'
    return works ? 'on' : 'refused'
  }
  return {
    aead,
    handshakes,
    ipv6: (sockets[1]?.fd ?? -1) >= 0,
    offloads: {
      tso: state('tso', tun.tso),
      // The kernel takes UDP's segments only together with TCP's.
      uso: state('uso', tun.uso, ['tso']),
      gso: state(
        'gso',
        open.every(({ gso }) => gso),
      ),
      gro: state(
        'gro',
        open.every(({ gro }) => gro),
      ),
      coalesce: state('coalesce', tun.vnetHeader),
      fused: state('fused', fused, ['openssl']),
      priority: state('priority', priority),
    },
    capabilities: [checksumMarks],
  }
}
