/**
 * Run as a program: `seed-peer.ts STATE OF-PEER`. Puts another host into the embedded store of a member whose daemon
 * does not run: its signed record and a block, as if it had joined. Prints its WireGuard key and the member's public one.
 */
import { join } from 'node:path'
import { parseCidr } from '../../model/ip.ts'
import { keysOf } from '../../model/keys.ts'
import { sealRecord } from '../../pki/envelope.ts'
import { loadOrCreateIdentity } from '../../pki/identity.ts'
import { openStore } from '../../store/open.ts'
import { MemoryLog } from './ports.ts'
import { realClock } from './real-clock.ts'
import { hostRecordOf, ip } from './snapshots.ts'

const [state = '', peerState = ''] = process.argv.slice(2)
const [member, peer] = [loadOrCreateIdentity(state), loadOrCreateIdentity(peerState)]
const keys = keysOf('default')
const block = parseCidr('10.42.255.0/26')
if (block === undefined) throw new TypeError('no block')
const record = hostRecordOf(2, {
  id: peer.id,
  name: 'b',
  signingKey: peer.signingKey,
  wireguardKey: peer.wireguardKey,
  endpoint: { address: '192.0.2.2', wireguard: 51820 },
  managed: ip('10.42.255.1'),
  capabilities: ['checksum-marks'],
  wireguardEngine: 'userspace',
})
const claim = { host: peer.id, epoch: 1, container: null, confirmed: true }
const store = openStore(
  { url: 'embedded', path: join(state, 'store.db') },
  { clock: realClock, log: new MemoryLog() },
)
const put = (key: string, body: object) => ({
  is: 'put' as const,
  key,
  value: sealRecord(peer, key, body, 1),
})
await store.transact([], [put(keys.host(peer.id), record), put(keys.block(block), claim)])
await store.close()
process.stdout.write(`${peer.wireguardPrivate} ${member.wireguardKey}\n`)
