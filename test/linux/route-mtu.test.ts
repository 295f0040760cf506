/** The kernel's idea of a path's MTU, and echoes that nothing fragments, in a network namespace of our own. */
import { execFileSync } from 'node:child_process'
import { test } from 'tap'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { Pinger } from '../../linux/icmp.ts'
import { RouteMtu } from '../../linux/route-mtu.ts'
import { millis } from '../../model/time.ts'
import { parseEndpoint } from '../../tunnel/wireguard/endpoint.ts'
import { isRoot, needsRoot } from '../support/netns.ts'
import { ip4 } from '../support/network.ts'
import { enterOwnNetns } from '../support/own-netns.ts'
import { SeededRandom } from '../support/ports.ts'
import { realClock } from '../support/real-clock.ts'

const libc = new Libc(makeArena(1 << 16))
const ip = (line: string): Buffer => execFileSync('ip', line.split(' '))

if (isRoot) {
  enterOwnNetns()
  ip('link set lo mtu 1400 up')
  ip('link add d0 type veth peer name d1')
  for (const end of ['d0', 'd1']) ip(`link set ${end} up`)
  ip('addr add 192.0.2.1/24 dev d0')
  ip('addr add 2001:db8::1/64 dev d0 nodad')
  ip('route add 198.51.100.0/24 dev d0 mtu 1300')
  ip('route add 2001:db8:1::/48 dev d0 mtu 1350')
  ip('addr add 198.18.0.1/24 dev d1')
  ip('route add 203.0.113.0/25 dev d1 src 198.18.0.1 mtu 1250')
}

test('what the kernel knows of a path', needsRoot, (t) => {
  const routes = new RouteMtu(libc)
  const mtuOf = (endpoint: string): number | undefined => {
    const to = parseEndpoint(endpoint)
    return to === undefined ? undefined : routes.pathMtu(to)
  }
  for (let round = 0; round < 3; round++) {
    t.equal(mtuOf('192.0.2.9:51820'), 1500)
    t.equal(mtuOf('198.51.100.7:51820'), 1300)
    t.equal(mtuOf('[2001:db8::9]:51820'), 1500)
    t.equal(mtuOf('[2001:db8:1::7]:51820'), 1350)
    t.equal(mtuOf('203.0.113.1:51820'), 1250, 'another source')
    t.equal(mtuOf('203.0.113.129:51820'), undefined, 'no route')
  }
  ip('route replace 198.51.100.0/24 dev d0 mtu 1200')
  t.equal(mtuOf('198.51.100.7:51820'), 1200, 'it is never an old one')
  t.end()
})

test('an echo is of the size that was asked for, and whole', needsRoot, async (t) => {
  const pinger = new Pinger({ libc, clock: realClock, random: new SeededRandom(7) })
  const probes = [28, 64, 1399, 1400, 1401, 5000].map((size) => ({ address: ip4('127.0.0.1'), size }))
  const answered = await pinger.probe(probes, { timeout: millis(1000) })
  t.same(
    [...answered.keys()].map(({ size }) => size).sort((a, b) => a - b),
    [28, 64, 1399, 1400],
  )
  t.ok([...answered.values()].every((took) => took >= 0))
  ip('route replace local 127.0.0.0/8 dev lo mtu 1000 table local')
  const narrow = await pinger.probe(probes.slice(3, 4), { timeout: millis(30_000) })
  t.equal(narrow.size, 1, "the route's MTU does not hold for probes")
})
