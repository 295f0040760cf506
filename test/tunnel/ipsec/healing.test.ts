/**
 * Two hosts with a real charon each: whatever somebody does to charon, to its SAs or to its device, both sides carry
 * again by themselves, and nothing leaves in clear meanwhile.
 */
import { join } from 'node:path'
import tap, { type Test, test } from 'tap'
import type { Verdict } from '../../../tunnel/ipsec/charon-judge.ts'
import { type CharonFolder, prepareCharon } from '../../../tunnel/ipsec/charon-place.ts'
import { ageOf } from '../../../tunnel/ipsec/charon-process.ts'
import { type IpsecHost, needsIpsec } from '../../support/ipsec-hosts.ts'
import { again, meet, pair, standing } from '../../support/ipsec-sas.ts'
import { until } from '../../support/netns.ts'
import { MemoryLog } from '../../support/ports.ts'
import { realClock } from '../../support/real-clock.ts'

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
  await readied(t, two)
})

/** What a daemon that starts does with a charon that did not answer it. */
async function readied(t: Test, host: IpsecHost): Promise<void> {
  await host.stop()
  const [pid = 0] = host.pids()
  const folder = join(host.folder, 'state', 'ipsec')
  const place: CharonFolder = {
    folder,
    socket: host.socket,
    port: host.port,
    esp: host.esp,
    logFile: undefined,
  }
  const prepare = (verdict: Verdict): Promise<boolean> => {
    const judge = { heard: () => undefined, verdict: async () => verdict }
    return prepareCharon(place, { runner: host.space.runner, judge, clock: realClock, log: new MemoryLog() })
  }
  if (ageOf(pid) < 9000) t.equal(await prepare('hung'), false, 'it may have just been started')
  await until('charon to be older', () => ageOf(pid) > 10_000, 30_000)
  t.equal(await prepare('slow'), false)
  t.equal(await prepare('answers'), false)
  t.same(host.pids(), [pid], 'it is left alone')
  t.equal(await prepare('hung'), true)
  t.same(host.pids(), [], 'it has ended')
}

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
