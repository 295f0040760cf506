/**
 * Two hosts with a real charon each: whatever somebody does to charon, to its SAs or to its device, both sides carry
 * again by themselves, and nothing leaves in clear meanwhile.
 */
import tap, { type Test, test } from 'tap'
import { needsIpsec } from '../../support/ipsec-hosts.ts'
import { again, meet, pair, standing } from '../../support/ipsec-sas.ts'
import { until } from '../../support/netns.ts'

tap.setTimeout(240000)

const since = () => {
  const start = performance.now()
  return (t: Test, what: string) =>
    t.comment(`${what} after ${((performance.now() - start) / 1000).toFixed(1)} s`)
}

test('SAs that somebody ended', needsIpsec, async (t) => {
  const [one, two, clear] = await pair(t)
  for (const host of [one, two]) {
    const before = await standing(one)
    const said = since()
    const vici = await host.vici()
    const other = host === one ? two : one
    await vici.request('terminate', { ike: other.identity.id, timeout: '5000' })
    vici.close()
    await until('another SA', async () => !['', before].includes(await standing(one)), 30_000)
    await again(one, two)
    said(t, `ended by ${host.number}: carries`)
  }
  t.same(await clear.lines(), [], 'nothing in clear')
})

test('the device was removed', needsIpsec, async (t) => {
  const [one, two, clear] = await pair(t)
  const ups = two.ups
  const said = since()
  await two.space.sh('ip link del ipsec0')
  await until('another charon', () => two.ups > ups, 30_000)
  await meet(one, two)
  await again(one, two)
  said(t, 'carries')
  t.same(await clear.lines(), [], 'nothing in clear')
})

test('charon is asked to end, as for an upgrade', needsIpsec, async (t) => {
  const [one, two, clear] = await pair(t)
  const ups = two.ups
  const said = since()
  await two.kill('SIGTERM')
  await until('the other side knows', async () => (await standing(one)) === '', 30_000)
  await until('another charon', () => two.ups > ups, 30_000)
  await meet(one, two)
  await again(one, two)
  said(t, 'carries')
  t.equal(two.pids().length, 1)
  t.same(await clear.lines(), [], 'nothing in clear')
})

test('charon hangs', needsIpsec, async (t) => {
  const [one, two, clear] = await pair(t)
  const [pid = 0] = two.pids()
  const { ups } = two
  const said = since()
  process.kill(pid, 'SIGSTOP')
  await until('another charon', () => two.ups > ups && !two.pids().includes(pid), 60_000)
  await meet(one, two)
  await again(one, two)
  said(t, 'carries')
  t.equal(two.pids().length, 1)
  t.same(await clear.lines(), [], 'nothing in clear')
})
