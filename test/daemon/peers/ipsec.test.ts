/**
 * IPsec as the daemon holds it: the device that charon has now, whoever's charon made it, and one line for everything
 * that is in its way.
 */
import { test } from 'tap'
import { IpsecTunnel } from '../../../daemon/peers/ipsec.ts'
import { DroverError } from '../../../model/errors.ts'
import type { Backend } from '../../../tunnel/backend.ts'
import type { BackendWish } from '../../../tunnel/choice.ts'
import { FakeClock, MemoryLog } from '../../support/ports.ts'
import { environment, host, hostId } from '../../support/records.ts'

const peers = environment({ hosts: [host('h1'), host('h2')] })

function world(wish: BackendWish = 'ipsec') {
  const machine: { device: string | undefined; problems: DroverError[]; up: () => void } = {
    device: undefined,
    problems: [],
    up: () => {},
  }
  const ended = Promise.withResolvers<void>()
  const keeper = {
    running: true,
    run: (up: () => void) => {
      machine.up = up
      return ended.promise
    },
    close: () => ended.resolve(),
  }
  const backend: Backend = {
    overhead: 95,
    apply: () => Promise.resolve(),
    status: () => Promise.resolve({ peers: [], facts: undefined, problems: machine.problems }),
    close: () => Promise.resolve(),
  }
  const deps = { keeper, backend, device: () => machine.device, clock: new FakeClock(), log: new MemoryLog() }
  const tunnel = new IpsecTunnel(deps, { self: hostId('h1'), port: 4500, esp: 'userspace', wish })
  return { machine, tunnel }
}

test('what leads to the peers is the device that charon has', async (t) => {
  const { machine, tunnel } = world()
  t.equal(tunnel.links(peers).device, undefined, 'none before charon has come')
  machine.device = 'ipsec1'
  t.equal(
    tunnel.links(peers).device,
    'ipsec1',
    "an earlier daemon's charon has one, and ipsec0 is somebody else's",
  )
  let changes = 0
  const running = tunnel.run({ up: () => {}, changed: () => changes++ })
  const before = changes
  machine.up()
  t.equal(changes, before)
  machine.device = undefined
  t.equal(tunnel.links(peers).device, 'ipsec1', 'charon is away, and will be back')
  machine.device = 'ipsec2'
  machine.up()
  t.equal(changes, before + 1, 'whoever plans routes is told')
  t.equal(tunnel.links(peers).device, 'ipsec2')
  await tunnel.close()
  await running
})

test('what is in its way is one line with the way out', async (t) => {
  const { machine, tunnel } = world()
  machine.problems = [
    new DroverError('IPSEC_CLOCK', 'valid from tomorrow', { fields: { peer: hostId('h2') } }),
  ]
  const running = tunnel.run({ up: () => {}, changed: () => {} })
  await tunnel.close()
  await running
  tunnel.trouble(new DroverError('IPSEC_MISSING', 'there is no charon-systemd'))
  t.match(
    tunnel.problems((id) => (id === hostId('h2') ? 'h2' : '?')),
    [
      {
        where: 'tunnel',
        what: 'IPsec: strongSwan is not installed: there is no charon-systemd',
        remedy: /^apt-get install .*; WireGuard carries meanwhile$/,
      },
      {
        what: 'IPsec to h2: the certificate of the peer is not valid yet: valid from tomorrow',
        remedy: /^compare the clocks .*; WireGuard carries meanwhile$/,
      },
    ],
  )
  const nobodyAsked = world('auto').tunnel
  nobodyAsked.trouble(new DroverError('IPSEC_MISSING', 'there is no charon-systemd'))
  t.same(
    nobodyAsked.problems(() => ''),
    [],
    'a charon that nobody asked for is not missed',
  )
  nobodyAsked.trouble(new DroverError('IPSEC_PORT', 'UDP 4500 is held by charon (process 7)'))
  t.match(
    nobodyAsked.problems(() => ''),
    [{ what: 'IPsec: the port of IPsec is taken: UDP 4500 is held by charon (process 7)' }],
    'what is in the way of one that is there is said',
  )
})
