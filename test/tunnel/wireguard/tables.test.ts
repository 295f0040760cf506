/**
 * The replay window and the allowed IPs, each against a naive model, step by step.
 */
import { test } from 'tap'
import { AllowedIps } from '../../../tunnel/wireguard/allowed-ips.ts'
import type { AllowedIp } from '../../../tunnel/wireguard/change.ts'
import { endpointV4 } from '../../../tunnel/wireguard/endpoint.ts'
import { LoadMeter, SourceLimiter } from '../../../tunnel/wireguard/load.ts'
import { REPLAY_WINDOW, ReplayWindow } from '../../../tunnel/wireguard/replay.ts'
import { SeededRandom } from '../../support/ports.ts'
import { fuzzRounds } from '../../support/wireguard.ts'

test('the replay window accepts each counter once, unless it is too old', async (t) => {
  t.ok(REPLAY_WINDOW >= 2048)
  for (const seed of [1, 2, 3, 4]) {
    const random = new SeededRandom(seed)
    const window = new ReplayWindow()
    const seen = new Set<number>()
    let highest = seed === 4 ? 2 ** 52 : 0
    for (let round = fuzzRounds(20_000); round > 0; round--) {
      const jump = [3, 40, 700, 9000, 100_000][random.below(round % 50 === 0 ? 5 : 3)] ?? 3
      const counter = Math.max(0, highest + random.below(jump * 2) - jump)
      const expected = !seen.has(counter) && highest - counter <= REPLAY_WINDOW
      if (window.accept(counter) !== expected)
        throw new RangeError(`seed ${seed}: counter ${counter} with ${highest} the highest`)
      seen.add(counter)
      highest = Math.max(highest, counter)
    }
  }
  const window = new ReplayWindow()
  t.equal(window.accept(0), true)
  t.equal(window.accept(0), false)
  t.equal(window.accept(Number.MAX_SAFE_INTEGER), false, 'no counter beyond the limit')
  t.equal(window.accept(Number.MAX_SAFE_INTEGER - 1), true)
  t.equal(window.accept(1), false)
})

/** The longest prefix by looking at all of them. */
class NaiveRoutes {
  readonly entries = new Map<string, { prefix: AllowedIp; owner: number }>()

  static bitsOf(address: Uint8Array, bits: number): string {
    return [...address]
      .map((byte) => byte.toString(2).padStart(8, '0'))
      .join('')
      .slice(0, bits)
  }
  key(prefix: AllowedIp): string {
    return `${prefix.address.length}:${NaiveRoutes.bitsOf(prefix.address, prefix.bits)}`
  }
  lookup(address: Uint8Array): number | undefined {
    const text = `${address.length}:${NaiveRoutes.bitsOf(address, 128)}`
    const fits = [...this.entries].filter(([key]) => text.startsWith(key))
    return fits.sort(([one], [other]) => other.length - one.length)[0]?.[1].owner
  }
}

test('allowed IPs are the longest prefix, whatever came and went', async (t) => {
  for (const seed of [1, 2, 3]) {
    const random = new SeededRandom(seed)
    const routes = new AllowedIps<number>()
    const naive = new NaiveRoutes()
    // Few distinct bits, so that prefixes meet and nest.
    const address = (length: number): Uint8Array =>
      Uint8Array.from({ length }, () => [0, 1, 128, 255][random.below(4)] ?? 0)
    const prefixOf = (): AllowedIp => {
      const length = random.below(2) === 0 ? 4 : 16
      return { address: address(length), bits: random.below(length * 8 + 1) }
    }
    for (let round = 0; round < fuzzRounds(20_000) / 10; round++) {
      const prefix = prefixOf()
      const owner = 1 + random.below(6)
      const what = random.below(20)
      if (what < 10) {
        routes.set(prefix, owner)
        naive.entries.set(naive.key(prefix), { prefix, owner })
      } else if (what < 18) {
        const known = [...naive.entries.values()][random.below(naive.entries.size || 1)]
        const target = known?.prefix ?? prefix
        const whose = random.below(3) === 0 ? owner : (known?.owner ?? owner)
        routes.remove(target, whose)
        if (naive.entries.get(naive.key(target))?.owner === whose) naive.entries.delete(naive.key(target))
      } else if (what === 18) {
        routes.removeOwner(owner)
        for (const [key, entry] of naive.entries) if (entry.owner === owner) naive.entries.delete(key)
      }
      for (const length of [4, 16]) {
        const asked = address(length)
        const memory = new Uint8Array(length + 8)
        memory.set(asked, 5)
        const found = length === 4 ? routes.lookupV4(memory, 5) : routes.lookupV6(memory, 5)
        if (found !== naive.lookup(asked))
          throw new RangeError(`seed ${seed}, round ${round}: ${asked.join('.')}`)
      }
    }
    const listed = [...routes.entries()].map(([prefix, owner]) => `${naive.key(prefix)} ${owner}`).sort()
    t.strictSame(listed, [...naive.entries].map(([key, { owner }]) => `${key} ${owner}`).sort())
  }
})

test('load begins above the limit and lingers for a second', async (t) => {
  const meter = new LoadMeter(10)
  let first = 0
  for (let at = 0; at < 20; at++) if (meter.note(at) && first === 0) first = at
  t.equal(first, 10)
  t.equal(meter.note(1018), true)
  t.equal(meter.note(2100), false)
})

test('a source has 20 messages a second and a burst of five; strangers are bounded', async (t) => {
  const limiter = new SourceLimiter()
  const one = endpointV4(1, 1)
  let allowed = 0
  for (let at = 0; at < 2000; at++) if (limiter.allows(one, at)) allowed++
  t.ok(allowed >= 40 && allowed <= 45, `${allowed}`)
  for (let at = 0; at < 10_000; at++) limiter.allows(endpointV4(at + 2, 1), 2000)
  t.ok(limiter.size <= 4096)
  t.equal(limiter.allows(endpointV4(1_000_000, 1), 2000), false)
  t.equal(limiter.allows(endpointV4(1_000_000, 1), 4000), true)
})
