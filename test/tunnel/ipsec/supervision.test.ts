/**
 * What is mended and when, without a charon: SAs as it lists them, states as the kernel lists them, and time.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { until } from '../../../lab/command.ts'
import type { Clock } from '../../../model/ports.ts'
import type { HostId } from '../../../model/records.ts'
import { millis } from '../../../model/time.ts'
import { Calls } from '../../../tunnel/ipsec/calls.ts'
import { type Activity, charonJudge, type Verdict } from '../../../tunnel/ipsec/charon-judge.ts'
import { activityOf } from '../../../tunnel/ipsec/charon-process.ts'
import { watchCharon } from '../../../tunnel/ipsec/charon-watch.ts'
import type { IfId } from '../../../tunnel/ipsec/if-id.ts'
import { mendingOf, type Sight, type Wanted } from '../../../tunnel/ipsec/mend.ts'
import { type ChildSa, type IkeSa, ikeSasIn } from '../../../tunnel/ipsec/sas.ts'
import { ViciClient } from '../../../tunnel/ipsec/vici-client.ts'
import { encodePacket } from '../../../tunnel/ipsec/vici-packet.ts'
import { kernelSasIn } from '../../../tunnel/ipsec/xfrm.ts'
import { MemoryLog } from '../../support/ports.ts'
import { realClock } from '../../support/real-clock.ts'
import { hostIdOf } from '../../support/snapshots.ts'

const [self, peer] = [hostIdOf(2), hostIdOf(3)]
const below = hostIdOf(1)

const child = (id: number, over: Partial<ChildSa> = {}): ChildSa => ({
  id,
  state: 'INSTALLED',
  spiIn: `0000000${id}`,
  spiOut: `1000000${id}`,
  bytesIn: 0,
  bytesOut: 0,
  age: 5,
  remote: ['10.42.3.0/26'],
  ...over,
})

const ike = (id: number, over: Partial<IkeSa> = {}): IkeSa => ({
  id,
  host: peer,
  state: 'ESTABLISHED',
  endpoint: '192.0.2.3:4500',
  age: 5,
  initiator: true,
  children: [child(id)],
  ...over,
})

const wanted = (host: HostId, over: Partial<Wanted> = {}): ReadonlyMap<HostId, Wanted> =>
  new Map([[host, { ifId: 7 as IfId, remote: [], ...over }]])

const sight = (sas: readonly IkeSa[], over: Partial<Sight> = {}): Sight => ({
  self,
  wanted: wanted(peer),
  sas,
  kernel: undefined,
  ...over,
})

const nothing = { missing: [], lost: [], ike: [], children: [] }

test('one SA that carries needs nothing', (t) => {
  t.same(mendingOf(sight([ike(1)])), nothing)
  t.same(mendingOf(sight([ike(1, { state: 'REKEYING' }), ike(2)])), nothing, 'while it is rekeyed')
  t.same(
    mendingOf(sight([ike(1, { children: [child(1, { state: 'REKEYED' }), child(2)] })])),
    nothing,
    'while its child is rekeyed',
  )
  t.end()
})

test('who has none is called, unless a call is under way', (t) => {
  const missing = { ...nothing, missing: [peer] }
  t.same(mendingOf(sight([])), missing)
  t.same(mendingOf(sight([ike(1, { state: 'DELETING' })])), missing)
  t.same(mendingOf(sight([ike(1, { children: [] })])), missing, 'an SA without a child carries nothing')
  t.same(mendingOf(sight([ike(1, { children: [child(1, { state: 'DELETING' })] })])), missing)
  t.same(mendingOf(sight([ike(1, { state: 'CONNECTING', children: [] })])), nothing)
  t.same(
    mendingOf(sight([ike(1, { state: 'CONNECTING', initiator: false, children: [] })])),
    missing,
    'whose call from outside it is nobody knows yet',
  )
  t.end()
})

test('a child without the newest networks of the peer', (t) => {
  const grown = wanted(peer, { remote: ['10.42.3.0/26', '10.42.9.0/26'] })
  t.same(mendingOf(sight([ike(1)], { wanted: grown })).missing, [peer])
  const both = child(2, { age: 1, remote: ['10.42.9.0/26', '10.42.3.0/26'] })
  t.same(mendingOf(sight([ike(1, { children: [child(1), both] })], { wanted: grown })), {
    ...nothing,
    children: [1],
  })
  t.end()
})

test('of two the newest stays, and only one side ends the other', (t) => {
  const two = [ike(1, { age: 20 }), ike(2, { age: 10 })]
  t.same(mendingOf(sight(two)), { ...nothing, ike: [1] })
  const others = two.map((sa) => ({ ...sa, host: below }))
  t.same(mendingOf(sight(others, { wanted: wanted(below) })), nothing, 'the host with the lower id does it')
  const late = others.map((sa) => ({ ...sa, age: sa.age + 40 }))
  t.same(mendingOf(sight(late, { wanted: wanted(below) })), { ...nothing, ike: [1] }, 'if it is able to')
  t.same(
    mendingOf(sight([ike(1, { age: 20 }), ike(2, { age: 10, children: [] })])),
    nothing,
    'an SA that carries is not given up for one that does not',
  )
  t.end()
})

test('an SA with somebody who is no peer is ended', (t) => {
  t.same(mendingOf(sight([ike(9)], { wanted: new Map() })), { ...nothing, ike: [9] })
  t.end()
})

const states = `src 192.0.2.2 dst 192.0.2.3
	proto esp spi 0x10000001 reqid 1 mode tunnel
	replay-window 0 flag af-unspec esn
	if_id 0x7
src 192.0.2.3 dst 192.0.2.2
	proto esp spi 0x00000001 reqid 1 mode tunnel
	if_id 0x7
`
const policy = (direction: string, ifId: string): string => `src 10.42.0.0/16 dst 10.42.0.0/16 
	dir ${direction} priority 383615 ptype main 
	tmpl src 192.0.2.2 dst 192.0.2.3
		proto esp spi 0x10000001 reqid 1 mode tunnel
	if_id ${ifId}
`
const sockets = `src 0.0.0.0/0 dst 0.0.0.0/0 
	socket in priority 0 ptype main 
`
const all = ['out', 'fwd', 'in'].map((direction) => policy(direction, '0x7')).join('') + sockets

test('what the kernel has, from what `ip xfrm` prints', (t) => {
  const { spis, policies } = kernelSasIn(states, all)
  t.same([...spis].sort(), ['00000001', '10000001'])
  t.same([...policies], [7])
  t.same([...kernelSasIn('', policy('out', '0x8') + policy('in', '0x8')).policies], [], 'one is missing')
  t.end()
})

test('what was deleted in the kernel is lost', (t) => {
  const seen = (left: string, rules: string) =>
    mendingOf(sight([ike(1)], { kernel: kernelSasIn(left, rules) })).lost
  t.same(seen(states, all), [])
  t.same(seen('', all), [peer])
  t.same(seen(states, sockets), [peer])
  t.end()
})

test('calls: the lower id at once, the higher after a moment, ever less often, never rarely', (t) => {
  const calls = new Calls(self)
  const at: number[] = []
  for (let now = 0; now <= 40_000; now += 500)
    if (calls.due([peer], millis(now)).length > 0) at.push(now / 1000)
  t.same(at, [0, 1, 3, 7, 15, 23, 31, 39])
  t.same(calls.due([below], millis(50_000)), [])
  t.same(calls.due([below], millis(54_000)), [below])
  calls.soon(below, true)
  t.same(calls.due([below], millis(54_100)), [below], 'one that believes it has an SA is called at once')
  t.same(calls.due([], millis(54_200)), [])
  t.same(calls.due([below], millis(54_300)), [], 'who had one is waited for again')
  t.end()
})

test('what charon lists', (t) => {
  const listed = {
    [peer]: {
      uniqueid: '3',
      state: 'ESTABLISHED',
      'remote-host': '2001:db8::3',
      'remote-port': '4500',
      established: '17',
      'child-sas': {
        'net-4': {
          uniqueid: '4',
          state: 'INSTALLED',
          'spi-in': 'c0',
          'bytes-in': '168',
          'remote-ts': ['10.42.0.0/16'],
        },
      },
    },
  }
  t.match(ikeSasIn([listed]), [
    {
      id: 3,
      host: peer,
      endpoint: '[2001:db8::3]:4500',
      age: 17,
      initiator: false,
      children: [{ id: 4, bytesIn: 168, age: 0, remote: ['10.42.0.0/16'] }],
    },
  ])
  t.end()
})

const quick: Clock = { ...realClock, after: (_, action) => realClock.after(millis(1), action) }

/** A control socket that answers one question on each of so many connections, and what a watch made of it. */
async function watched(
  t: Test,
  { connections, hangsUp, verdicts }: { connections: number; hangsUp: boolean; verdicts: Verdict[] },
) {
  const folder = mkdtempSync(join(tmpdir(), 'drover-vici-'))
  let left = connections
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    if (left-- <= 0) return
    socket.once('data', () => {
      socket.write(encodePacket({ is: 'response', message: {} }))
      if (hangsUp) socket.end()
    })
  }).listen(join(folder, 'vici'))
  t.teardown(() => {
    server.close()
    rmSync(folder, { recursive: true })
  })
  await once(server, 'listening')
  let ended = 0
  const watch = watchCharon({
    connect: () => ViciClient.open(join(folder, 'vici'), { deadline: 400 }),
    judge: { heard: () => undefined, verdict: async () => verdicts.shift() ?? 'hung' },
    device: () => undefined,
    end: async () => {
      ended += 1
    },
    clock: quick,
    log: new MemoryLog(),
  })
  const held = await watch.hold(new AbortController().signal)
  await held.ended
  return [ended, verdicts.length]
}

test('a silent charon is judged: one that hangs is ended, one that is slow is waited for', async (t) => {
  const silent = { connections: 1, hangsUp: false }
  t.same(await watched(t, { ...silent, verdicts: ['hung'] }), [1, 0])
  t.same(await watched(t, { ...silent, verdicts: ['answers'] }), [0, 0])
  t.same(await watched(t, { ...silent, verdicts: ['gone'] }), [0, 0])
  t.same(await watched(t, { ...silent, verdicts: ['slow', 'slow', 'answers'] }), [0, 0])
  t.same(await watched(t, { ...silent, verdicts: ['slow', 'hung'] }), [1, 0])
  t.same(await watched(t, { connections: 9, hangsUp: true, verdicts: ['hung'] }), [0, 1], 'it has hung up')
})

test('hung or slow: what a silent charon does meanwhile', async (t) => {
  let [now, turn] = [0, 0]
  const asked = (answers: boolean, activity: (turn: number) => Activity) =>
    charonJudge({
      ask: () => (answers ? Promise.resolve() : Promise.reject(new Error('silent'))),
      activity: () => activity(turn++),
      clock: { ...quick, boot: () => millis(now) },
    })
  t.equal(await asked(false, () => 'idle').verdict(), 'hung')
  t.equal(await asked(false, () => 'busy').verdict(), 'slow')
  t.equal(await asked(false, (turn) => (turn % 9 === 0 ? 'busy' : 'idle')).verdict(), 'hung', 'a little')
  t.equal(await asked(false, () => 'gone').verdict(), 'gone')
  t.equal(await asked(true, () => 'idle').verdict(), 'answers')
  const circles = asked(false, () => 'busy')
  t.equal(await circles.verdict(), 'slow')
  now += 50_000
  t.equal(await circles.verdict(), 'slow')
  circles.heard()
  now += 50_000
  t.equal(await circles.verdict(), 'slow', 'it was heard meanwhile')
  now += 60_000
  t.equal(await circles.verdict(), 'hung', 'slow for a minute')
})

/** The folder of a shell that goes by charon's name. */
function charonThat(t: Test, does: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'drover-charon-'))
  symlinkSync('/bin/sh', join(folder, 'charon'))
  const child = spawn(join(folder, 'charon'), ['-c', does], {
    env: { STRONGSWAN_CONF: join(folder, 'strongswan.conf') },
    stdio: 'ignore',
  })
  t.teardown(() => {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  })
  return folder
}

test('what the threads of a charon do', async (t) => {
  const shows = (folder: string, activity: Activity) =>
    until(activity, () => Promise.resolve(activityOf(folder) === activity || undefined))
  await shows(charonThat(t, 'while :; do :; done'), 'busy')
  await shows(charonThat(t, 'kill -STOP $$'), 'idle')
  t.equal(activityOf('/nowhere'), 'gone')
})
