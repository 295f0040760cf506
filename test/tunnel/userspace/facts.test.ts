/**
 * What the engine says of its offloads: in use now, switched off, or refused.
 */
import { test } from 'tap'
import { factsOf, type Running } from '../../../tunnel/userspace/facts.ts'

const socket = (given: Partial<Running['sockets'][number]> = {}) => ({
  fd: 5,
  gso: true,
  gro: true,
  ...given,
})
const running = (given: Partial<Running> = {}): Running => ({
  aead: 'openssl',
  handshakes: 'openssl',
  fused: true,
  priority: true,
  without: [],
  tun: { vnetHeader: true, tso: true, uso: true },
  sockets: [socket(), socket()],
  ...given,
})
const offloadsOf = (given: Partial<Running>) => factsOf(running(given)).offloads

test('what works is on', async (t) => {
  const { offloads, ...facts } = factsOf(running())
  t.strictSame(offloads, {
    tso: 'on',
    uso: 'on',
    gso: 'on',
    gro: 'on',
    coalesce: 'on',
    fused: 'on',
    priority: 'on',
  })
  t.strictSame(facts, {
    aead: 'openssl',
    handshakes: 'openssl',
    ipv6: true,
    capabilities: ['checksum-marks'],
  })
  const closed = factsOf(running({ sockets: [socket(), socket({ fd: -1, gso: false, gro: false })] }))
  t.match(
    closed,
    { ipv6: false, offloads: { gso: 'on', gro: 'on' } },
    'a family that is not there refuses nothing',
  )
})

test('what is switched off is not refused', async (t) => {
  const none = { vnetHeader: true, tso: false, uso: false }
  t.match(offloadsOf({ without: ['tso'], tun: none }), { tso: 'off', uso: 'off' }, 'one needs the other')
  t.match(offloadsOf({ tun: { ...none, tso: true } }), { tso: 'on', uso: 'refused' }, 'an older kernel')
  t.match(offloadsOf({ tun: { ...none, vnetHeader: false } }), { tso: 'refused', coalesce: 'refused' })
  const plain = [socket({ gso: false, gro: false })]
  t.match(offloadsOf({ sockets: plain, without: ['gso', 'gro'] }), { gso: 'off', gro: 'off' })
  t.match(offloadsOf({ fused: false }), { fused: 'refused' }, 'another processor')
  t.match(offloadsOf({ priority: false }), { priority: 'refused' }, 'not root')
  t.match(offloadsOf({ fused: false, without: ['openssl'] }), { fused: 'off' }, 'nothing that could be')
})

test('what gave way while it ran is refused from then on', async (t) => {
  const [one, other] = [socket(), socket()]
  const sockets = [one, other]
  t.match(offloadsOf({ sockets }), { gso: 'on' })
  other.gso = false
  t.match(offloadsOf({ sockets }), { gso: 'refused', gro: 'on' })
})
