import { test } from 'tap'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { Pinger } from '../../linux/icmp.ts'
import { type Ipv4, parseIpv4 } from '../../model/ip.ts'
import { millis } from '../../model/time.ts'
import { SeededRandom } from '../support/ports.ts'
import { realClock } from '../support/real-clock.ts'

const address = (text: string): Ipv4 => parseIpv4(text) ?? (0 as Ipv4)
const needsRoot = process.getuid?.() === 0 ? false : 'raw sockets need root'

test('who answers, and who does not', { skip: needsRoot }, async (t) => {
  const pinger = new Pinger({
    libc: new Libc(makeArena(1 << 16)),
    clock: realClock,
    random: new SeededRandom(7),
  })
  const near = [address('127.0.0.1'), address('127.1.2.3')]
  t.same(await pinger.probe([], { timeout: millis(1000) }), new Set())
  t.same(await pinger.probe(near, { timeout: millis(5000), interface: 'lo' }), new Set(near))

  let turns = 0
  const ticking = setInterval(() => turns++, 5)
  const answers = await pinger.probe([...near, address('192.0.2.1')], {
    timeout: millis(300),
    source: address('127.0.0.1'),
  })
  clearInterval(ticking)
  t.same(answers, new Set(near), 'an address of nobody is silent')
  t.ok(turns > 10, 'the event loop goes on')

  const two = await Promise.all([
    pinger.probe([address('127.0.0.5')], { timeout: millis(5000) }),
    pinger.probe([address('127.0.0.6')], { timeout: millis(5000) }),
  ])
  t.same(two, [new Set([address('127.0.0.5')]), new Set([address('127.0.0.6')])])
  await t.rejects(pinger.probe(near, { timeout: millis(100), interface: 'dt-nowhere' }))
})
