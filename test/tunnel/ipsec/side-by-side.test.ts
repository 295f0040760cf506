/**
 * Two Drovers on each of two machines, all with userspace ESP: each has a charon, a port and a device of its own, and
 * nothing that becomes of one touches the other.
 */
import tap, { test } from 'tap'
import { IpsecWorld, needsIpsec, pings } from '../../support/ipsec-hosts.ts'
import { again, carried, meet } from '../../support/ipsec-sas.ts'
import { until } from '../../support/netns.ts'

tap.setTimeout(240_000)

test('two charons on a machine', needsIpsec, async (t) => {
  const world = await IpsecWorld.open()
  t.teardown(() => world.close())
  const one = await world.host({ number: 1, esp: 'userspace' })
  const two = await world.host({ number: 2, esp: 'userspace' })
  const otherOne = await world.beside(one, { number: 11, esp: 'userspace', port: 5500 })
  const otherTwo = await world.beside(two, { number: 12, esp: 'userspace', port: 5500 })
  const clear = await world.netns.capture(one.space, 'eth0', 'net 10.42.0.0/16')
  for (const host of [one, two, otherOne, otherTwo]) await host.start()
  t.same([one.device, otherOne.device], ['ipsec0', 'ipsec1'])
  await Promise.all([meet(one, two), meet(otherOne, otherTwo)])
  await Promise.all([again(one, two), again(otherOne, otherTwo)])

  const { ups } = one
  await one.space.sh('ip link del ipsec0')
  t.ok(await pings(otherOne, otherTwo), 'the other one does not miss it')
  await until('another charon', () => one.ups > ups, 30_000)
  t.same([one.device, otherOne.device], ['ipsec0', 'ipsec1'])
  await meet(one, two)
  await again(one, two)
  await carried(otherOne, otherTwo)
  t.same(await clear.lines(), [], 'nothing in clear')
})

test('two that want the same port: one works, the other says so', needsIpsec, async (t) => {
  const world = await IpsecWorld.open()
  t.teardown(() => world.close())
  const one = await world.host({ number: 1, esp: 'userspace' })
  const other = await world.beside(one, { number: 11, esp: 'userspace' })
  await one.start()
  other.begin()
  const fault = await until('a fault', () => other.fault)
  t.match(fault.line, /UDP 4500 is held by charon-systemd \(process \d+\); .*tunnel\.ipsecPort/)
  t.equal(one.pids().length, 1)
})
