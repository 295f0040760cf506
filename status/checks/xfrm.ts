/**
 * The kernel's counters of IPsec packets that it dropped (/proc/net/xfrm_stat), each with what it means: a counter
 * that moves names the fault. Meanings: Documentation/networking/xfrm_proc.rst of the kernel. Pure.
 */
import { type Finding, warningIn } from '../finding.ts'
import type { Counters, MachineFacts } from '../machine-facts.ts'

interface Meaning {
  readonly means: string
  readonly remedy: string
}

const reload = 'the two hosts will agree anew by themselves; if it goes on, restart drover-ipsec on both'
const memory = 'the machine is short of memory for packets: look at `free` and `dmesg`'
const altered =
  'somebody changes packets on the way, or a network card damages them: try without its offloads'
const policies = "another program changes IPsec policies (`ip xfrm policy`): let only Drover's charon do it"
const ours = 'send `drover report`: packets should not come to this'

export const xfrmCounters: Readonly<Record<string, Meaning>> = {
  XfrmInError: { means: 'a packet came in that no other counter describes', remedy: ours },
  XfrmInBufferError: { means: 'no memory for a packet that came in', remedy: memory },
  XfrmInHdrError: { means: 'a packet with a damaged ESP header came in', remedy: altered },
  XfrmInNoStates: {
    means:
      'a packet of an association that this host does not have: the other side still uses one that is gone here',
    remedy: reload,
  },
  XfrmInStateProtoError: {
    means: 'a packet did not decrypt: altered on the way, or by another key',
    remedy: altered,
  },
  XfrmInStateModeError: { means: 'a packet in another mode than was agreed', remedy: reload },
  XfrmInStateSeqError: {
    means: 'a packet outside the replay window: seen before, or very late',
    remedy: 'a network that repeats or reorders packets widely, or somebody who replays them',
  },
  XfrmInStateExpired: { means: 'a packet of an association that has run out', remedy: reload },
  XfrmInStateMismatch: {
    means: 'a packet whose UDP encapsulation is not what was agreed',
    remedy: 'a middlebox rewrites UDP ports of IPsec (4500): switch its IPsec helper off',
  },
  XfrmInStateInvalid: { means: 'a packet of an association that is being set up or removed', remedy: reload },
  XfrmInTmplMismatch: {
    means: 'a packet that came in clear, or by another association than the policy asks',
    remedy: policies,
  },
  XfrmInNoPols: { means: 'a packet that decrypted, and that no policy allows in', remedy: policies },
  XfrmInPolBlock: { means: 'a policy says to drop a packet that came in', remedy: policies },
  XfrmInPolError: { means: 'a policy could not be read', remedy: ours },
  XfrmInStateDirError: { means: 'an association for the other direction was named', remedy: reload },
  XfrmInIptfsError: {
    means: 'a damaged packet of IP-TFS came in, which Drover does not use',
    remedy: policies,
  },
  XfrmAcquireError: {
    means: 'a packet waited in vain for its association: the other side does not answer IKE',
    remedy: 'let UDP 4500 (tunnel.ipsecPort) pass between the hosts; WireGuard carries meanwhile',
  },
  XfrmFwdHdrError: { means: 'a packet could not be forwarded because of its header', remedy: altered },
  XfrmOutError: {
    means: 'a packet could not go out for a reason that no other counter describes',
    remedy: ours,
  },
  XfrmOutBundleGenError: {
    means: 'no way could be made for a packet that should go out encrypted',
    remedy: 'look at the route to the other host (`ip route get`), and whether it has one',
  },
  XfrmOutBundleCheckError: { means: 'the way of a packet ended while it was used', remedy: reload },
  XfrmOutNoStates: {
    means: 'there is no association for a packet that should go out encrypted, so it was dropped',
    remedy: 'it is being agreed; if it goes on, let UDP 4500 (tunnel.ipsecPort) pass between the hosts',
  },
  XfrmOutStateProtoError: { means: 'a packet could not be encrypted', remedy: memory },
  XfrmOutStateModeError: {
    means: 'a packet was too large to go out, and may not be divided',
    remedy: 'set tunnel.mtu to what `drover status` shows for the path',
  },
  XfrmOutStateSeqError: { means: 'an association has used up its sequence numbers', remedy: reload },
  XfrmOutStateExpired: { means: 'a packet was sent by an association that has run out', remedy: reload },
  XfrmOutPolBlock: { means: 'a policy says to drop a packet that goes out', remedy: policies },
  XfrmOutPolDead: { means: 'the policy of a packet went while it was used', remedy: reload },
  XfrmOutPolError: { means: 'a policy could not be read', remedy: ours },
  XfrmOutStateInvalid: {
    means: 'a packet was sent by an association that is being set up or removed',
    remedy: reload,
  },
  XfrmOutStateDirError: { means: 'an association for the other direction was named', remedy: reload },
  XfrmOutNoQueueSpace: { means: 'the queue of packets to send is full', remedy: memory },
}

/** Name → count, of the text of the file. */
export const countersOf = (text: string): Counters =>
  new Map(
    text.split('\n').flatMap((line): [string, number][] => {
      const found = /^(\w+)\s+(\d+)$/.exec(line.trim())
      return found === null ? [] : [[found[1] ?? '', Number(found[2])]]
    }),
  )

export function movingCounters({ xfrm: { before, after } }: Pick<MachineFacts, 'xfrm'>): readonly Finding[] {
  return [...after].flatMap(([name, count]) => {
    const more = count - (before.get(name) ?? 0)
    if (more <= 0) return []
    const { means, remedy } = xfrmCounters[name] ?? { means: 'the kernel drops IPsec packets', remedy: ours }
    return [warningIn('tunnel', `${name} moves (${more} in a moment, ${count} in all): ${means}`, remedy)]
  })
}
