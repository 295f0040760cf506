/**
 * The search for a path MTU against simulated paths: random sizes, changes, losses, delays, with and without ICMP.
 * A path is told by what it carries; a model of RFC 8899's promises is checked after every step.
 */
import { test } from 'tap'
import { type Millis, millis } from '../../model/time.ts'
import { overheadOver, PathMtuSearch } from '../../tunnel/path-mtu.ts'
import { TrafficWatch } from '../../tunnel/traffic.ts'
import { SeededRandom } from '../support/ports.ts'

const minute = 60_000

/** What fits through a path, as the search can say it. */
const fitting = (carries: number, most: number): number =>
  carries >= most ? most : Math.max(512, carries - (carries % 16))

class SimulatedPath {
  readonly search: PathMtuSearch
  readonly most: number
  /** The largest inner packet that passes. */
  carries: number
  /** Share of probes that are lost. */
  loss = 0
  roundTrip = 5
  alive = true
  icmp = false
  /** All sizes that were ever answered. */
  readonly answered = new Set<number>()
  now = 0
  probes = 0
  readonly #random: SeededRandom

  constructor(most: number, carries: number, random: SeededRandom) {
    this.search = new PathMtuSearch(most)
    this.most = most
    this.carries = carries
    this.#random = random
  }

  /** Runs until `until`; whatever is asked is answered as the path lets it. */
  run(until: number): void {
    while (this.now < until) {
      const due = Math.max(this.now, this.search.deadline())
      if (due >= until) break
      this.now = due
      this.#round()
    }
    this.now = Math.max(this.now, until)
  }

  #round(): void {
    const { search } = this
    const sizes = search.next(millis(this.now))
    const waited = search.patience
    const answers = new Map<number, Millis>()
    const before = search.mtu
    for (const size of sizes) {
      this.probes++
      // WireGuard's padding
      const padded = Math.min(this.most, Math.ceil(size / 16) * 16)
      const passes = this.alive && padded <= this.carries && this.#random.below(1000) >= this.loss * 1000
      if (passes && this.roundTrip <= waited) answers.set(size, millis(this.roundTrip))
      if (padded > this.carries && this.icmp) search.limit(this.carries, millis(this.now))
    }
    this.now += answers.size === sizes.length ? this.roundTrip : waited
    for (const size of answers.keys()) this.answered.add(size)
    search.settle(answers, millis(this.now))
    search.checkInvariants()
    const after = search.mtu
    if (after !== undefined && after > (before ?? 0) && after > 512 && !this.answered.has(after))
      throw new RangeError(`${after} is believed although it was never answered`)
    if (answers.size === 0 && before !== undefined && after !== before && !this.icmp)
      throw new RangeError(`nothing was answered, and ${before} became ${after}`)
  }
}

test('a wide path costs one probe, and then one in ten minutes', async (t) => {
  const path = new SimulatedPath(1420, 1440, new SeededRandom(1))
  path.run(1000)
  t.equal(path.search.mtu, 1420)
  t.equal(path.probes, 1)
  path.run(60 * minute)
  t.ok(path.probes <= 8, `${path.probes} probes in an hour`)
})

test('every size is found', async (t) => {
  for (let carries = 500; carries <= 1440; carries++) {
    const path = new SimulatedPath(1420, carries, new SeededRandom(carries))
    path.run(10_000)
    if (path.search.mtu !== fitting(carries, 1420)) t.fail(`${path.search.mtu} on a path of ${carries}`)
    if (path.probes > 60) t.fail(`${path.probes} probes`)
    const steady = path.probes
    path.run(path.now + 60 * minute)
    if (path.probes - steady > 100) t.fail(`${path.probes - steady} probes in an hour of a narrow path`)
  }
  for (const most of [576, 1280, 1421, 8920, 9000]) {
    const path = new SimulatedPath(most, 1240, new SeededRandom(most))
    path.run(10_000)
    t.equal(path.search.mtu, fitting(1240, most))
  }
})

test('a hop that shrinks in silence is found in less than two seconds once somebody suspects it', async (t) => {
  for (let carries = 512; carries < 1420; carries += 7) {
    const path = new SimulatedPath(1420, 1440, new SeededRandom(carries))
    path.run(minute)
    path.carries = carries
    path.search.suspect(millis(path.now))
    const since = path.now
    while (path.search.mtu === 1420) path.run(path.now + 10)
    if (path.now - since > 2000) t.fail(`${path.now - since} ms for ${carries}`)
    if (path.search.mtu !== fitting(carries, 1420)) t.fail(`${path.search.mtu} on a path of ${carries}`)
    path.carries = 1440
    path.run(path.now + 2 * minute)
    if (path.search.mtu !== 1420) t.fail(`${path.search.mtu} on a path that has grown`)
  }
})

test('what ICMP told the kernel holds at once, and ends when the kernel forgets it', async (t) => {
  const path = new SimulatedPath(1420, 1440, new SeededRandom(3))
  path.run(minute)
  path.search.limit(1300 - overheadOver(4, 'wireguard'), millis(path.now))
  t.equal(path.search.mtu, 1232)
  path.run(2 * minute)
  t.equal(path.search.mtu, 1232, 'nothing larger is tried while the kernel would fragment it')
  path.search.limit(1500 - overheadOver(4, 'wireguard'), millis(path.now))
  path.run(path.now + 5000)
  t.equal(path.search.mtu, 1420)
  const before = new PathMtuSearch(1420)
  before.limit(100, millis(0))
  before.checkInvariants()
  t.equal(before.next(millis(0))[0], 512, 'a lie goes no lower than what every path carries')
})

test('a peer that does not answer changes nothing and is not asked often', async (t) => {
  const path = new SimulatedPath(1420, 1300, new SeededRandom(4))
  path.run(minute)
  const found = path.search.mtu
  path.alive = false
  path.search.suspect(millis(path.now))
  const before = path.probes
  path.run(path.now + 60 * minute)
  t.equal(path.search.mtu, found)
  t.ok(path.probes - before < 60 * 12, `${path.probes - before} probes in an hour`)
  path.alive = true
  path.carries = 900
  path.run(path.now + 2 * minute)
  t.equal(path.search.mtu, 896)
})

test('a slow path is waited for', async (t) => {
  const path = new SimulatedPath(1420, 1000, new SeededRandom(5))
  path.roundTrip = 1200
  path.run(2 * minute)
  t.equal(path.search.mtu, 992)
})

test('random paths: never wrong for long, never more than was answered', async (t) => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = new SeededRandom(seed)
    const most = [1420, 1380, 1280, 8920][random.below(4)] ?? 1420
    const path = new SimulatedPath(most, 500 + random.below(most), random)
    path.icmp = random.below(2) === 0
    path.roundTrip = 1 + random.below(400)
    for (let change = 0; change < 12; change++) {
      path.loss = random.below(4) / 10
      path.alive = random.below(8) > 0
      path.carries = 500 + random.below(most)
      if (random.below(2) === 0) path.search.suspect(millis(path.now))
      if (path.icmp && random.below(3) === 0) path.search.limit(500 + random.below(most), millis(path.now))
      path.run(path.now + random.below(90_000))
    }
    // then the network becomes quiet, and the kernel forgets
    Object.assign(path, { loss: 0, alive: true, icmp: false, carries: 560 + random.below(most) })
    path.search.limit(most, millis(path.now))
    path.run(path.now + 12 * minute)
    if (path.search.mtu !== fitting(path.carries, most))
      t.fail(`seed ${seed}: ${path.search.mtu} on a path of ${path.carries} at most ${most}`)
  }
})

test('loss alone hardly ever makes a path look narrow', async (t) => {
  let narrow = 0
  const path = new SimulatedPath(1420, 1440, new SeededRandom(9))
  path.run(1000)
  path.loss = 0.1
  for (let count = 0; count < 2000; count++) {
    path.search.suspect(millis(path.now))
    path.run(path.now + 5000)
    if (path.search.mtu !== 1420) narrow++
  }
  t.ok(narrow < 60, `${narrow} of 2000 times`)
})

test('traffic asks for a look when it begins, breaks off, and now and then', async (t) => {
  const watch = new TrafficWatch()
  let now = 0
  const report = (total: number): boolean => {
    now += 2000
    return watch.report(total, millis(now))
  }
  t.same([0, 0, 200, 400].map(report), [false, false, false, false])
  t.equal(report(50_000), true, 'begins')
  t.equal(report(100_000), false)
  t.equal(report(101_000), true, 'breaks off')
  t.equal(report(102_000), false)
  t.equal(report(60_000), true, 'the engine began to count again')
  let looks = 0
  for (let total = 1e6; now < 10 * minute; total += 1e6) if (report(total)) looks++
  t.ok(looks >= 35 && looks <= 45, `${looks} times in ten minutes of steady traffic`)
  let total = 1e9
  looks = 0
  for (let round = 0; round < 300; round++) {
    total += round % 2 === 0 ? 1e6 : 10
    if (report(total)) looks++
  }
  t.ok(looks <= 70, `${looks} times in ten minutes of bursts`)
})
