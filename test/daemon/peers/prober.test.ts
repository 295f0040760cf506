/**
 * Probes on a fake clock: one answer makes a peer reachable, several rounds without one by any backend make it silent,
 * a backend that owes an answer is asked more often.
 */
import { type Test, test } from 'tap'
import type { Way } from '../../../daemon/peers/backend-chooser.ts'
import { type EchoOptions, Prober } from '../../../daemon/peers/prober.ts'
import type { Reachability } from '../../../model/environment.ts'
import { type Millis, millis, seconds } from '../../../model/time.ts'
import type { BackendName } from '../../../tunnel/choice.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../../support/ports.ts'
import { environment, host, hostId, ip } from '../../support/records.ts'

const address = ip('10.42.0.65')
const hosts = [host('h1', {}, { managed: ip('10.42.0.1') }), host('h2', {}, { managed: address }), host('h3')]

class World {
  readonly clock = new FakeClock()
  readonly seen: (Reachability | undefined)[] = []
  /** Seconds at which each backend was asked. */
  readonly asked: Record<BackendName, number[]> = { ipsec: [], wireguard: [] }
  readonly heard: string[] = []
  readonly up: Set<BackendName>
  readonly silent = new Set<BackendName>()
  readonly #prober: Prober
  readonly #running: Promise<void>

  constructor(t: Test, backends: readonly BackendName[], up: readonly BackendName[] = []) {
    this.up = new Set(up)
    this.#prober = new Prober({
      echo: { probe: (ways, options) => this.#echo(ways, options) },
      clock: this.clock,
      log: new MemoryLog(),
      meter: new MemoryMeter(),
      ways: () => backends.map((backend) => this.#way(backend)),
      environment: () => environment({ hosts }),
      onHeard: (answers) => this.#hear(answers),
      onResult: (states) => {
        t.same([...states.keys()], [hostId('h2')], 'neither ourselves, nor who has no address')
        this.seen.push(states.get(hostId('h2')))
      },
    })
    this.#running = this.#prober.run()
    t.teardown(async () => {
      this.#prober.close()
      this.clock.advance(seconds(5))
      await this.#running
    })
  }

  get state(): Reachability | undefined {
    return this.seen.at(-1)
  }

  async pass(time: Millis): Promise<void> {
    for (let passed = 0; passed < time; passed += 100) {
      for (let turn = 0; turn < 12; turn++) await Promise.resolve()
      this.clock.advance(millis(100))
    }
    for (let turn = 0; turn < 12; turn++) await Promise.resolve()
  }

  #way(backend: BackendName): Way {
    const silent = this.silent.has(backend)
    const device = backend === 'ipsec' ? 'drx1' : 'drover0'
    return {
      host: hostId('h2'),
      name: 'h2',
      address,
      backend,
      interface: device,
      answers: !silent,
      silent,
    }
  }

  #echo(ways: readonly Way[], { timeout, onAnswers }: EchoOptions): Promise<unknown> {
    for (const way of ways) this.asked[way.backend].push(this.clock.boot() / 1000)
    const answered = ways.filter(({ backend }) => this.up.has(backend))
    if (answered.length > 0) this.clock.after(millis(5), () => onAnswers(answered))
    const wait = answered.length === ways.length ? millis(5) : timeout
    return new Promise<void>((resolve) => void this.clock.after(wait, resolve))
  }

  #hear(answers: ReadonlyMap<Way, boolean>): void {
    for (const [{ backend }, answered] of answers) this.heard.push(`${backend} ${answered}`)
  }
}

test('reachability follows the answers', async (t) => {
  const world = new World(t, ['wireguard'])
  await world.pass(seconds(4))
  t.equal(world.state, 'unknown')
  world.up.add('wireguard')
  await world.pass(seconds(3))
  t.equal(world.state, 'answers')
  world.up.clear()
  await world.pass(seconds(6))
  t.equal(world.state, 'answers', 'not for a few losses')
  await world.pass(seconds(6))
  t.equal(world.state, 'silent')
  world.silent.add('wireguard')
  world.up.add('wireguard')
  await world.pass(millis(1100))
  t.equal(world.state, 'answers', 'back within a second or so')
})

test('a backend that owes an answer is asked every second, the other goes on as before', async (t) => {
  const world = new World(t, ['ipsec', 'wireguard'], ['ipsec', 'wireguard'])
  await world.pass(seconds(6))
  t.same(world.asked, { ipsec: [0, 3, 6], wireguard: [0, 3, 6] })
  world.up.delete('ipsec')
  await world.pass(seconds(10))
  t.same(world.asked.wireguard, [0, 3, 6, 9, 12, 15])
  t.same(world.asked.ipsec, [0, 3, 6, 9, 10, 11, 12, 13, 14, 15, 16])
  t.equal(world.state, 'answers', 'one backend is enough')
  world.silent.add('ipsec')
  world.asked.ipsec.length = 0
  await world.pass(seconds(6))
  t.same(world.asked.ipsec, [19, 22], 'one that is silent as rarely as one that answers')
})

test('a backend that is silent is asked less often, but for a peer that answers by none', async (t) => {
  const world = new World(t, ['ipsec', 'wireguard'], ['wireguard'])
  world.silent.add('ipsec')
  await world.pass(seconds(6))
  t.same(world.asked.ipsec, [0, 3, 6])
  world.up.clear()
  world.silent.add('wireguard')
  await world.pass(seconds(12))
  t.equal(world.state, 'silent')
  world.asked.wireguard.length = 0
  await world.pass(seconds(3))
  t.equal(world.asked.wireguard.length, 3, 'who comes back is seen within a second or so')
})

test('a late miss is no news after an answer', async (t) => {
  const world = new World(t, ['ipsec'])
  await world.pass(seconds(4))
  world.up.add('ipsec')
  await world.pass(seconds(4))
  const first = world.heard.indexOf('ipsec true')
  t.ok(first > 0)
  t.notOk(world.heard.slice(first).includes('ipsec false'), world.heard.join(', '))
})
