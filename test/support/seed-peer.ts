/**
 * Run as a program: `seed-peer.ts STATE OF-PEER`. Puts another host into the embedded store of the member that holds the
 * CA and whose daemon does not run: its record and a block, signed, certified and listed in its head, as if it had
 * joined. Prints its WireGuard key and the member's public one.
 */
import { join } from 'node:path'
import { parseCidr } from '../../model/ip.ts'
import { keysOf } from '../../model/keys.ts'
import { instant } from '../../model/time.ts'
import { loadAuthority } from '../../pki/authority.ts'
import { sealRecord } from '../../pki/envelope.ts'
import { headRecordOf } from '../../pki/head.ts'
import { loadOrCreateIdentity } from '../../pki/identity.ts'
import { openStore } from '../../store/open.ts'
import { MemoryLog } from './ports.ts'
import { realClock } from './real-clock.ts'
import { hostRecordOf, ip } from './snapshots.ts'

const [state = '', peerState = ''] = process.argv.slice(2)
const [member, peer] = [loadOrCreateIdentity(state), loadOrCreateIdentity(peerState)]
const keys = keysOf('default')
const block = parseCidr('10.42.255.0/26')
const ca = loadAuthority(state, undefined)
if (block === undefined || ca === undefined) throw new TypeError('no block, or no CA')
const now = instant(Date.now())
const record = hostRecordOf(2, {
  id: peer.id,
  name: 'b',
  signingKey: peer.signingKey,
  certificate: ca.issueHost(peer.id, peer.signingKey, now).pem,
  wireguardKey: peer.wireguardKey,
  endpoint: { address: '192.0.2.2', wireguard: 51820 },
  managed: ip('10.42.255.1'),
  capabilities: ['checksum-marks'],
  wireguardEngine: 'userspace',
})
const claim = { host: peer.id, epoch: 1, container: null, confirmed: true }
const store = await openStore(
  { url: 'embedded', path: join(state, 'store.db') },
  { clock: realClock, log: new MemoryLog() },
)
const bodies: readonly (readonly [string, object])[] = [
  [keys.host(peer.id), record],
  [keys.block(block), claim],
  [keys.head(peer.id), headRecordOf(peer.id, [1, 2], now)],
]
await store.transact(
  [],
  bodies.map(([key, body], index) => ({ is: 'put', key, value: sealRecord(peer, key, body, index + 1) })),
)
await store.close()
process.stdout.write(`${peer.wireguardPrivate} ${member.wireguardKey}\n`)
