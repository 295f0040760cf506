/**
 * Which backend, and why: the table of preferences, what probes change, and hosts whose backends come and go at
 * random, which are never left on a silent one for longer than was promised.
 */
import { test } from 'tap'
import { type Millis, millis, minutes, seconds } from '../../model/time.ts'
import {
  type BackendName,
  type BackendWish,
  type Choice,
  choose,
  type Evidence,
  type EvidenceOf,
  evidenceAfter,
  type IpsecState,
  isSilent,
  type Preference,
  preferenceFor,
  type Standing,
} from '../../tunnel/choice.ts'
import { SeededRandom } from '../support/ports.ts'

const kernel: IpsecState = { is: 'kernel' }
const userspace: IpsecState = { is: 'userspace' }
const none: IpsecState = { is: 'none', why: 'the kernel has no ESP' }
const peerWith = (esp: 'kernel' | 'userspace' | '') => ({
  name: 'h2',
  ipsec: esp === '' ? undefined : { port: 4500, esp },
})
const both = 'both hosts have IPsec in their kernel'

test('the order of preference, from what both hosts can', async (t) => {
  const rows: [BackendWish, IpsecState, 'kernel' | 'userspace' | '', string, string][] = [
    ['auto', kernel, 'kernel', 'ipsec wireguard', both],
    ['auto', kernel, '', 'wireguard', 'h2 has no IPsec'],
    ['auto', kernel, 'userspace', 'wireguard ipsec', 'h2 has no IPsec in its kernel'],
    ['auto', userspace, 'kernel', 'wireguard ipsec', 'this host has no IPsec in its kernel'],
    ['auto', none, 'kernel', 'wireguard', 'no IPsec here: the kernel has no ESP'],
    ['ipsec', kernel, 'kernel', 'ipsec wireguard', 'as configured'],
    ['ipsec', userspace, 'userspace', 'ipsec wireguard', 'as configured'],
    ['ipsec', userspace, '', 'wireguard', 'h2 has no IPsec'],
    ['ipsec', none, 'kernel', 'wireguard', 'no IPsec here: the kernel has no ESP'],
    ['wireguard', kernel, 'kernel', 'wireguard', 'as configured'],
  ]
  for (const [wish, own, esp, order, reason] of rows) {
    const found = preferenceFor(wish, own, peerWith(esp))
    t.same([found.order.join(' '), found.reason], [order, reason], `${wish}, ${own.is}, ${esp}`)
  }
})

const preference: Preference = { order: ['ipsec', 'wireguard'], reason: both }

/** Probes every three seconds, as the words say what became of them: `i` IPsec, `w` WireGuard, both or `-`. */
function after(words: string, start?: BackendName) {
  let evidence: EvidenceOf = {}
  let choice: Choice = choose(preference, evidence, start, millis(0))
  const used: BackendName[] = []
  for (const [at, word] of words.split(' ').entries()) {
    const now = seconds(3 * (at + 1))
    evidence = {
      ipsec: evidenceAfter(evidence.ipsec, word.includes('i'), now),
      wireguard: evidenceAfter(evidence.wireguard, word.includes('w'), now),
    }
    choice = choose(preference, evidence, choice.standing, now)
    used.push(choice.standing.backend)
  }
  return { used: used.map((name) => name[0]).join(' '), reason: choice.reason }
}

test('what probes change', async (t) => {
  t.same(choose(preference, {}, undefined, millis(0)), {
    standing: { backend: 'wireguard', failures: 0 },
    reason: 'IPsec has not carried a probe yet',
  })
  t.same(after('w iw iw'), { used: 'w i i', reason: both }, 'used from its first probe on')
  t.same(after('w w iw', 'ipsec'), { used: 'i i i', reason: both }, 'what an earlier daemon used goes on')
  t.same(after('iw w iw w w iw'), { used: 'i i i i i i', reason: both }, 'two misses are bad luck')
  const silent = 'IPsec carries no probe'
  t.same(after('iw w w w w'), { used: 'i i i w w', reason: silent }, 'three are not')
  const again = 'IPsec has failed once: it is used again when it has worked for 5 s'
  t.same(after('iw w w w iw iw'), { used: 'i i i w w w', reason: again })
  t.same(after('iw w w w iw iw iw'), { used: 'i i i w w w i', reason: both })
  t.same(after('iw - - - -'), { used: 'i i i i i', reason: 'no backend carries a probe' })
  t.same(after('iw - - - - w'), { used: 'i i i i i w', reason: silent })
  t.same(after('w w w i i i'), { used: 'w w w i i i', reason: both }, 'WireGuard may be blocked as well')
  const held = after('iw w w w iw iw iw w w w iw iw iw')
  t.same(held.used, 'i i i w w w i i i w w w w', 'the second time it waits longer')
  t.match(held.reason, /failed 2 times.*worked for 10 s/)
  t.same(after('iw w w w iw iw iw w w w i i i').used.slice(-5), 'w w i', 'unless nothing else carries')
})

test('a backend that can no longer be used is left at once', async (t) => {
  const standing: Standing = { backend: 'ipsec', failures: 0 }
  const only: Preference = { order: ['wireguard'], reason: 'h2 has no IPsec' }
  t.match(choose(only, {}, standing, seconds(1)), {
    standing: { backend: 'wireguard' },
    reason: 'h2 has no IPsec',
  })
  t.match(choose(only, {}, 'ipsec', seconds(1)), { standing: { backend: 'wireguard' } })
})

test('failures are forgotten after a quarter of an hour', async (t) => {
  const standing: Standing = { backend: 'wireguard', failures: 9 }
  const works = (since: Millis): Evidence => ({ heard: minutes(60), unanswered: 0, carriesSince: since })
  const back = (since: Millis) => choose(preference, { ipsec: works(since) }, standing, minutes(60)).standing
  t.same(back(minutes(56)), { backend: 'wireguard', failures: 9 })
  t.same(back(minutes(55)), { backend: 'ipsec', failures: 9 }, 'five minutes are the most')
  t.same(back(minutes(44)), { backend: 'ipsec', failures: 0 })
})

interface Path {
  up: boolean
  /** Share of its probes that are lost while it is up, in percent. */
  readonly loss: number
  /** Since when it is as it is. */
  since: number
}

/** One host's sight of one peer: probes as `daemon/peers/prober.ts` sends them, outages of any length. */
class World {
  readonly paths: Record<BackendName, Path>
  readonly random: SeededRandom
  evidence: Partial<Record<BackendName, Evidence>> = {}
  choice: Choice = choose(preference, {}, undefined, millis(0))
  now = 0
  switches = 0
  readonly #waiting: { at: number; name: BackendName; answered: boolean }[] = []
  readonly #askAt: Record<BackendName, number> = { ipsec: 0, wireguard: 0 }

  constructor(seed: number, loss: number) {
    this.random = new SeededRandom(seed)
    this.paths = { ipsec: { up: true, loss, since: 0 }, wireguard: { up: true, loss, since: 0 } }
  }

  set(name: BackendName, up: boolean): void {
    if (this.paths[name].up === up) return
    Object.assign(this.paths[name], { up, since: this.now })
  }

  /** One second. */
  step(): void {
    this.now += 1000
    for (const name of ['ipsec', 'wireguard'] as const) {
      if (this.now < this.#askAt[name]) continue
      const { up, loss } = this.paths[name]
      const answered = up && this.random.below(100) >= loss
      this.#waiting.push({ at: this.now + (answered ? 0 : 2000), name, answered })
      const seen = this.evidence[name]
      const silent = seen !== undefined && isSilent(seen, this.#time)
      this.#askAt[name] = this.now + (answered || silent ? 3000 : 1000)
    }
    const due = this.#waiting.filter(({ at }) => at <= this.now)
    for (const probe of due) {
      this.#waiting.splice(this.#waiting.indexOf(probe), 1)
      this.evidence[probe.name] = evidenceAfter(this.evidence[probe.name], probe.answered, this.#time)
    }
    const before = this.choice.standing.backend
    this.choice = choose(preference, this.evidence, this.choice.standing, this.#time)
    if (before !== this.choice.standing.backend) this.switches++
  }

  /** How long the backend in use has been down while the other one was up. */
  get stuck(): number {
    const { backend } = this.choice.standing
    const [used, other] = [this.paths[backend], this.paths[backend === 'ipsec' ? 'wireguard' : 'ipsec']]
    return used.up || !other.up ? 0 : this.now - Math.max(used.since, other.since)
  }

  get #time(): Millis {
    return millis(this.now)
  }
}

test('random outages: never longer than 10 s on a silent backend, and back to the better one', async (t) => {
  for (let seed = 1; seed <= 200; seed++) {
    const world = new World(seed, 0)
    let worst = 0
    for (let second = 0; second < 3600; second++) {
      for (const name of ['ipsec', 'wireguard'] as const)
        if (world.random.below(100) === 0) world.set(name, world.random.below(2) === 0)
      world.step()
      worst = Math.max(worst, world.stuck)
    }
    if (worst > 10_000) t.fail(`seed ${seed}: ${worst} ms on a silent backend`)
    for (const name of ['ipsec', 'wireguard'] as const) world.set(name, true)
    for (let second = 0; second < 400; second++) world.step()
    if (world.choice.standing.backend !== 'ipsec') t.fail(`seed ${seed}: not back`)
  }
})

test('a lossy path is not a silent one', async (t) => {
  let switches = 0
  for (let seed = 1; seed <= 50; seed++) {
    const world = new World(seed, 20)
    for (let second = 0; second < 3600; second++) world.step()
    switches += Math.max(0, world.switches - 1)
  }
  t.ok(switches <= 50, `${switches} switches in 50 hours with 20 % of the probes lost`)
})

test('flapping is damped', async (t) => {
  const world = new World(7, 0)
  for (let second = 0; second < 3600; second++) {
    world.set('ipsec', second % 40 < 20)
    world.step()
  }
  t.ok(world.switches <= 15, `${world.switches} switches in an hour that has 90 outages`)
})
