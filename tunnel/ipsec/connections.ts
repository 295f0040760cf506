/**
 * One peer as one connection of charon's, as `load-conn` of VICI and swanctl.conf take it. Pure; the same peer gives
 * the same text. IKEv2 with certificates and one proposal only, so nothing weaker can be agreed upon.
 *
 * Kernel ESP is route-based: selectors are the whole subnet on both sides, and the peer's if_id ties them to its XFRM
 * interface. Userspace ESP has no if_id: the peer's networks are the selectors, and what this host holds comes out of
 * the other side's selectors by narrowing (RFC 7296 section 2.9), so that a new block here changes nothing here.
 */
import type { Cidr } from '../../model/ip.ts'
import type { HostId } from '../../model/records.ts'
import type { Peer } from '../backend.ts'
import { ikeIdentity } from './credentials.ts'
import type { IfId } from './if-id.ts'
import type { ViciSection } from './vici-message.ts'

/** Who encrypts packets: the kernel, or charon itself (`kernel-libipsec`). */
export type Esp = 'kernel' | 'userspace'

export interface IpsecSelf {
  readonly host: HostId
  /** Name of the environment. */
  readonly environment: string
  readonly subnet: Cidr
  readonly esp: Esp
  /** Of IKE and of ESP in UDP. */
  readonly port: number
}

/** A peer that has IPsec. */
export type IpsecPeer = Peer & Required<Pick<Peer, 'ipsec'>>

export const hasIpsec = (peer: Peer): peer is IpsecPeer => peer.ipsec !== undefined

/** The only child of each connection. */
export const childName = 'net'

const ikeProposal = 'aes256gcm16-prfsha384-x25519'
const espProposal = 'aes256gcm16-x25519'

/** The connection of a peer is called by its host id. */
export function connectionOf(self: IpsecSelf, peer: IpsecPeer, ifId: IfId): ViciSection {
  return {
    version: '2',
    // Whatever the peer's packets come from; its identity decides who it is.
    remote_addrs: [peer.endpoint.address, '%any'],
    remote_port: String(peer.ipsec.port),
    local_port: String(self.port),
    proposals: [ikeProposal],
    encap: 'yes',
    mobike: 'yes',
    dpd_delay: '10s',
    // A random part of the tenth that follows is taken off: at most this, and not all at once.
    rekey_time: '4h',
    reauth_time: '0s',
    // Which of two stays is decided by sas.ts: charon would end both where both sides initiated at once.
    unique: 'never',
    local: { auth: 'pubkey', id: ikeIdentity(self.environment, self.host) },
    remote: { auth: 'pubkey', id: ikeIdentity(self.environment, peer.host) },
    children: { [childName]: childOf(self, peer, ifId) },
  }
}

function childOf(self: IpsecSelf, peer: IpsecPeer, ifId: IfId): ViciSection {
  const common = { mode: 'tunnel', rekey_time: '1h', dpd_action: 'clear', close_action: 'none' }
  if (self.esp === 'userspace')
    return {
      ...common,
      local_ts: [self.subnet],
      remote_ts: peer.allowed,
      esp_proposals: [espProposal],
      // It cannot ask for an SA when a packet comes: whoever keeps it initiates.
      start_action: 'none',
    }
  return {
    ...common,
    local_ts: [self.subnet],
    remote_ts: [self.subnet],
    // `kernel-libipsec` has no extended sequence numbers.
    esp_proposals: [peer.ipsec.esp === 'kernel' ? `${espProposal}-esn` : espProposal],
    start_action: 'trap',
    replay_window: '1024',
    if_id_in: String(ifId),
    if_id_out: String(ifId),
  }
}
