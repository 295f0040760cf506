/**
 * Probes on a fake clock: one answer makes a peer reachable, three rounds without one make it silent.
 */
import { test } from 'tap'
import { Prober } from '../../daemon/prober.ts'
import type { Reachability } from '../../model/environment.ts'
import type { Ipv4 } from '../../model/ip.ts'
import { seconds } from '../../model/time.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../support/ports.ts'
import { environment, host, hostId, ip } from '../support/records.ts'

test('reachability follows the answers', async (t) => {
  const clock = new FakeClock()
  const up = new Set<Ipv4>()
  const seen: (Reachability | undefined)[] = []
  const hosts = [
    host('h1', {}, { managed: ip('10.42.0.1') }),
    host('h2', {}, { managed: ip('10.42.0.65') }),
    host('h3'),
  ]
  const prober = new Prober({
    echo: { probe: (addresses) => Promise.resolve(new Set(addresses.filter((one) => up.has(one)))) },
    clock,
    log: new MemoryLog(),
    meter: new MemoryMeter(),
    environment: () => environment({ hosts }),
    onResult: (states) => {
      t.notOk(states.has(hostId('h1')), 'never ourselves')
      t.notOk(states.has(hostId('h3')), 'nobody without an address')
      seen.push(states.get(hostId('h2')))
    },
  })
  const running = prober.run()
  const rounds = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at++) {
      for (let turn = 0; turn < 10; turn++) await Promise.resolve()
      clock.advance(seconds(3))
    }
  }
  await rounds(2)
  up.add(ip('10.42.0.65'))
  await rounds(1)
  up.clear()
  await rounds(4)
  up.add(ip('10.42.0.65'))
  await rounds(1)
  prober.close()
  await running
  t.strictSame(seen.slice(0, 8), [
    'unknown',
    'unknown',
    'answers',
    'answers',
    'answers',
    'silent',
    'silent',
    'answers',
  ])
})
