/**
 * The kernel's ESP by XFRM interfaces, where the kernel has both; elsewhere test/lab/ipsec-kernel.test.ts runs this
 * file in its virtual machine.
 */
import tap, { type Test, test } from 'tap'
import { SystemRunner } from '../../../linux/run.ts'
import { espMissing } from '../../../tunnel/ipsec/esp-probe.ts'
import { connect, IpsecWorld, needsIpsec, peerOf, pings } from '../../support/ipsec-hosts.ts'
import { carried, isSingle, meet, standing } from '../../support/ipsec-sas.ts'
import { until } from '../../support/netns.ts'

tap.setTimeout(900000)

const missing = await espMissing(new SystemRunner({}, {}))
const needs = missing === '' ? needsIpsec : { skip: `no kernel ESP: ${missing}` }
const patience = 60_000

async function pair(t: Test, esp: 'kernel' | 'userspace' = 'kernel') {
  const world = await IpsecWorld.open()
  t.teardown(() => world.close())
  const one = await world.host({ number: 1, esp: 'kernel' })
  const two = await world.host({ number: 2, esp })
  await Promise.all([one.start(), two.start()])
  await connect(one, two)
  await connect(two, one)
  return { world, one, two }
}

test('hosts meet, packets go, and nothing goes in clear', needs, async (t) => {
  const { world, one, two } = await pair(t)
  t.notOk(await pings(one, two), 'nothing is carried before')
  const capture = await world.netns.capture(one.space, 'eth0', 'net 10.42.0.0/16')
  await meet(one, two)
  await carried(one, two)
  await carried(two, one)
  const state = await one.space.sh('ip xfrm state')
  t.match(state, /aead rfc4106\(gcm\(aes\)\)/)
  t.match(state, /flag .*esn/, 'extended sequence numbers')
  t.match(state, /encap type espinudp/)
  t.same(await capture.lines(), [])

  await until('one SA', async () => (await isSingle(one)) && (await isSingle(two)), 60_000)
  const before = await standing(one)
  await one.stop()
  await one.start()
  await meet(one, two)
  t.equal(await standing(one), before, 'a restart of the daemon changes nothing')

  await one.backend.apply([])
  await until('the other side knows', async () => (await standing(two)) === '', patience)
  t.notMatch(await one.space.sh('ip xfrm state'), /proto esp/, 'no key of a host that was removed stays')
})

test('what somebody deletes in the kernel comes back', needs, async (t) => {
  const { one, two } = await pair(t)
  await meet(one, two)
  await carried(one, two)
  for (const what of ['state', 'policy']) {
    await one.space.sh(`ip xfrm ${what} flush`)
    await carried(one, two)
    await carried(two, one)
    t.pass(`after ip xfrm ${what} flush`)
    const capture = await one.space.sh('ip xfrm policy')
    t.match(capture, /dir out/)
  }
})

test('charon killed: both sides carry again by themselves', needs, async (t) => {
  const { one, two } = await pair(t)
  await meet(one, two)
  await carried(one, two)
  const ups = two.ups
  await two.kill()
  await until('charon is back', () => two.ups > ups, patience)
  await two.backend.apply([peerOf(one)])
  await carried(two, one)
  await carried(one, two)
  await until('one SA', async () => (await isSingle(one)) && (await isSingle(two)), patience)
  t.pass()
})

test('a peer whose charon encrypts itself', needs, async (t) => {
  const { one, two } = await pair(t, 'userspace')
  await meet(one, two)
  await carried(one, two)
  await carried(two, one)
  t.notMatch(await one.space.sh('ip xfrm state'), /flag .*esn/)
})
