import { test } from 'tap'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { Pinger, type Probe } from '../../linux/icmp.ts'
import { formatIpv4, type Ipv4, parseIpv4 } from '../../model/ip.ts'
import { millis } from '../../model/time.ts'
import { SeededRandom } from '../support/ports.ts'
import { realClock } from '../support/real-clock.ts'

const address = (text: string): Ipv4 => parseIpv4(text) ?? (0 as Ipv4)
const needsRoot = process.getuid?.() === 0 ? false : 'raw sockets need root'

const probesOf = (addresses: readonly string[], device?: string) =>
  addresses.map((text) => ({
    address: address(text),
    ...(device === undefined ? {} : { interface: device }),
  }))

const answeredBy = (answered: ReadonlyMap<Probe, unknown>) =>
  [...answered.keys()].map((probe) => `${formatIpv4(probe.address)} ${probe.interface ?? '-'}`).sort()

test('who answers, and who does not', { skip: needsRoot }, async (t) => {
  const pinger = new Pinger({
    libc: new Libc(makeArena(1 << 16)),
    clock: realClock,
    random: new SeededRandom(7),
  })
  const near = ['127.0.0.1', '127.1.2.3']
  t.same(await pinger.probe([], { timeout: millis(1000) }), new Map())
  const byLo = await pinger.probe(probesOf(near, 'lo'), { timeout: millis(30_000) })
  t.same(answeredBy(byLo), ['127.0.0.1 lo', '127.1.2.3 lo'])

  let turns = 0
  const ticking = setInterval(() => turns++, 5)
  const answers = await pinger.probe(probesOf([...near, '192.0.2.1']), {
    timeout: millis(1000),
    source: address('127.0.0.1'),
  })
  clearInterval(ticking)
  t.same(answeredBy(answers), ['127.0.0.1 -', '127.1.2.3 -'], 'an address of nobody is silent')
  t.ok(turns > 10, 'the event loop goes on')

  const two = await Promise.all([
    pinger.probe(probesOf(['127.0.0.5']), { timeout: millis(30_000) }),
    pinger.probe(probesOf(['127.0.0.6']), { timeout: millis(30_000) }),
  ])
  t.same(two.map(answeredBy), [['127.0.0.5 -'], ['127.0.0.6 -']])
  await t.rejects(pinger.probe(probesOf(near, 'dt-nowhere'), { timeout: millis(100) }))
  const mixed = [...probesOf(near, 'dt-nowhere'), ...probesOf(near, 'lo'), ...probesOf(near)]
  t.same(
    answeredBy(await pinger.probe(mixed, { timeout: millis(1000) })),
    ['127.0.0.1 -', '127.0.0.1 lo', '127.1.2.3 -', '127.1.2.3 lo'],
    'each by its own interface',
  )
})
