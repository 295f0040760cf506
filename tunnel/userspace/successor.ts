/**
 * The side that takes a tunnel over, in the packet thread: waits for the state once everything else is ready, and says
 * that the tunnel is taken right before its first packet. Pure.
 */
import { DroverError } from '../../model/errors.ts'
import { decodeState, HANDOVER_VERSIONS, type TunnelState } from '../wireguard/handover.ts'
import type { Channel } from './channel.ts'

export class Predecessor {
  readonly #channel: Pick<Channel, 'say' | 'hear' | 'close'>

  constructor(channel: Pick<Channel, 'say' | 'hear' | 'close'>) {
    this.#channel = channel
  }

  /** Says that everything is loaded, and waits. Undefined when the predecessor has died without giving its state. */
  state(): TunnelState | undefined {
    this.#channel.say({ is: 'ready', reads: HANDOVER_VERSIONS })
    for (let frame = this.#channel.hear(); frame !== undefined; frame = this.#channel.hear())
      if (frame.is === 'state') return stateIn(frame.state)
    return undefined
  }

  /** The tunnel is ours. A predecessor that has died need not know. */
  taken(): void {
    this.#channel.say({ is: 'taken' })
    this.#channel.close()
  }

  /** Says why the tunnel is not taken. */
  refuse(why: string): void {
    this.#channel.say({ is: 'refused', why })
    this.#channel.close()
  }
}

/** Key, peers and sessions; leaves no copy of the bytes. */
function stateIn(bytes: Uint8Array): TunnelState {
  const decoded = decodeState(bytes)
  bytes.fill(0)
  if (decoded.is === 'state') return decoded.state
  const why = decoded.is === 'damaged' ? 'is damaged' : `has the unknown version ${decoded.version}`
  throw new DroverError('TUNNEL_UNAVAILABLE', `the state ${why}`)
}
