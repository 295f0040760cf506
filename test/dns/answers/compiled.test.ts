/**
 * Compiled answers against a naive model and against the resolver that they were made by.
 */

import { test } from 'tap'
import { CompiledAnswers, type Finished } from '../../../dns/answers/compiled.ts'
import { ZoneCopy } from '../../../dns/zone/changes.ts'
import { ZoneProjection } from '../../../dns/zone/projection.ts'
import { question, type readAnswer } from '../../support/dns-messages.ts'
import { world } from '../../support/dns-world.ts'
import { SeededRandom } from '../../support/ports.ts'
import {
  containerRecordOf,
  declaredOf,
  environmentOf,
  hostIdOf,
  hostOf,
  hostRecordOf,
  ip,
} from '../../support/snapshots.ts'
import { takenIn, zoneOf } from '../../support/zone-of.ts'

const seed = Number(process.env.DROVER_FUZZ_SEED ?? 11)
const at = 50_000

function memory(entries = 1000, length = 40_000) {
  const bytes = new Uint8Array(at + 4096)
  const compiled = new CompiledAnswers({ bytes, at: 0, length }, { entries })
  const find = (message: Uint8Array, perspective = 1, now = 0): number => {
    bytes.set(message, at)
    return compiled.find(at, message.length, perspective, now)
  }
  const keep = (message: Uint8Array, finished: Partial<Finished>, perspective = 1): void =>
    compiled.keep(message.subarray(12), perspective, { ...simple, ...finished })
  const tailOf = (entry: number): string => {
    const from = compiled.tailAt(entry)
    return Buffer.from(bytes.subarray(from, from + compiled.tailLength(entry))).toString('latin1')
  }
  return { bytes, compiled, find, keep, tailOf }
}

const simple: Finished = {
  flags: 0x8480,
  answers: 1,
  authority: 0,
  tail: Buffer.from('tail'),
  rotating: 0,
  serialAt: -1,
  lasting: true,
}

test('what is the same question', (t) => {
  const { find, keep, tailOf, compiled, bytes } = memory()
  keep(question('Web.Shop', 'A'), {})
  t.ok(find(question('wEB.shop', 'A')) > 0, 'letters of any case')
  t.ok(find(question('web.shop', 'A', { flags: 0 })) > 0)
  t.equal(find(question('web.shop', 'AAAA')), -1)
  t.equal(find(question('web.shop', 'A', { class: 3 })), -1)
  t.equal(find(question('webshop', 'A')), -1)
  t.equal(find(question('web.shop', 'A'), 2), -1, 'another perspective')
  t.equal(find(question('web.shop', 'A', { flags: 0x8100 })), -1, 'an answer')
  t.equal(find(question('web.shop', 'A', { flags: 0x2900 })), -1, 'an update')
  t.equal(find(Buffer.concat([question('web.shop', 'A'), Buffer.of(0)])), -1, 'bytes behind it')
  t.equal(find(question('web.shop', 'A', { edns: 1232, version: 1 })), -1)
  t.equal(find(question('web.shop', 'A').subarray(0, 20)), -1)
  const entry = find(question('web.shop', 'A', { edns: 1232, flags: 0x0110 }))
  t.equal(compiled.edns, 1)
  compiled.writeHeader(at, entry)
  t.equal(Buffer.from(bytes.subarray(at, at + 12)).toString('hex'), '123485900001000100000001')
  t.equal(tailOf(entry), 'tail')
  t.end()
})

test('sizes', (t) => {
  const { find, keep } = memory()
  const plain = question('a', 'A')
  keep(plain, { tail: Buffer.alloc(512 - plain.length) })
  t.ok(find(plain) > 0)
  t.ok(find(question('a', 'A', { edns: 1232 })) > 0)
  t.equal(find(question('a', 'A', { edns: 512 })), -1, 'no room for OPT')
  keep(plain, { tail: Buffer.alloc(513 - plain.length) })
  t.equal(find(plain), -1)
  keep(plain, { tail: Buffer.alloc(5000) })
  t.equal(find(question('a', 'A', { edns: 65_535 })), -1, 'never more than 4,096')
  t.end()
})

test('turns', (t) => {
  const { find, keep, tailOf } = memory()
  const asked = question('a', 'A')
  keep(asked, {
    tail: Buffer.from('1'.repeat(16) + '2'.repeat(16) + '3'.repeat(16)),
    rotating: 3,
    answers: 3,
  })
  const firsts = Array.from({ length: 6 }, () => tailOf(find(asked)))
  t.strictSame(
    firsts.map((tail) => tail.replace(/(.)\1*/g, '$1')),
    ['231', '312', '123', '231', '312', '123'],
  )
  t.end()
})

test('times to live and serials', (t) => {
  const { find, keep, tailOf, compiled } = memory()
  const asked = question('a', 'A')
  const kept = { until: 10_000, since: 1000, ttls: [[1, 70_000] as const] }
  keep(asked, { tail: Buffer.from('xTTTTy'), kept })
  const ttl = (now: number): number => Buffer.from(tailOf(find(asked, 1, now)), 'latin1').readUInt32BE(1)
  t.equal(ttl(1000), 70_000)
  t.equal(ttl(3999), 69_998)
  t.equal(find(asked, 1, 10_000), -1, 'over')
  t.equal(find(question('a', 'A', { flags: 0x0120 }), 1, 2000), -1, 'AD')
  keep(asked, { tail: Buffer.from('SERI'), serialAt: 0 })
  compiled.change(7, [])
  t.equal(Buffer.from(tailOf(find(asked)), 'latin1').readUInt32BE(0), 7, 'the newest serial')
  t.end()
})

test('changes', (t) => {
  const { find, keep, compiled } = memory()
  const names = ['a.x.test', 'a', 'a.x', 'b.x.test', 'x.test', 'followed']
  const fill = (): void => {
    for (const name of names) keep(question(name, 'A'), { lasting: name !== 'followed' })
  }
  const known = (): string[] => names.filter((name) => find(question(name, 'A')) > 0)
  fill()
  compiled.change(1, ['a.x.test'])
  t.strictSame(
    known(),
    ['b.x.test', 'x.test'],
    'the name, what a search leads to it, and what follows others',
  )
  fill()
  compiled.change(2, [])
  t.strictSame(known(), names.slice(0, -1))
  compiled.changeAll(3)
  t.strictSame(known(), [])
  fill()
  t.strictSame(known(), names)
  t.end()
})

test('full memory starts over', (t) => {
  const { find, keep, compiled } = memory(50, 3000)
  const random = new SeededRandom(seed)
  for (let round = 0; round < 5000; round++) {
    const asked = question(`n${random.below(200)}.test`, 'A')
    keep(asked, { tail: Buffer.alloc(random.below(300), round) })
    if (find(asked) < 0) t.fail(`round ${round}, seed ${seed}`)
  }
  keep(question('big', 'A'), { tail: Buffer.alloc(4000) })
  t.equal(find(question('big', 'A')), -1, 'what never fits is left out')
  t.ok(compiled.size <= 50)
  t.end()
})

test('in a changing environment the answers are those of a fresh resolver', async (t) => {
  const random = new SeededRandom(seed)
  const own = world()
  const copy = new ZoneCopy()
  const projection = new ZoneProjection({ service: ip('169.254.169.250') })
  const names = ['web', 'db', 'x', 'web.s1', 'web.s2', 'web.s1.rancher.internal', 's1.rancher.internal']
  names.push('near.s1.rancher.internal', 'near', 'c1', 'c2.rancher.internal', 'nothing.rancher.internal')
  names.push('1.web.s1.rancher.internal', '1.web', '_80._tcp.web.s1.rancher.internal')
  names.push('_tcp.web.s1.rancher.internal', 'host2.hosts.rancher.internal', '1.2.42.10.in-addr.arpa')
  names.push('github.com', '1.0.42.10.in-addr.arpa', '2.0.42.10.in-addr.arpa', 'rancher.internal')
  for (let revision = 1; revision <= 60; revision++) {
    const containers = [1, 2, 3, 4].flatMap((n) =>
      random.below(3) === 0
        ? []
        : [
            containerRecordOf(n, {
              stack: `s${1 + random.below(2)}`,
              service: ['web', 'db', 'x'][random.below(3)] ?? 'web',
              name: `c${n}`,
              address: ip(`10.42.0.${1 + random.below(4)}`),
              exposed: random.below(2) === 0 ? ['80/tcp'] : [],
              index: 1 + random.below(2),
              health: random.below(4) === 0 ? 'unhealthy' : 'none',
              host: hostIdOf(1 + random.below(2)),
              links: random.below(3) === 0 ? { x: 'c1' } : {},
              engineAddresses: [`127.0.0.${n}`],
            }),
          ],
    )
    const near = declaredOf({ stack: 's1', name: 'near', kind: 'externalService' })
    const services = [{ ...near, hostname: random.below(2) === 0 ? 'web.s1.rancher.internal' : null }]
    const hosts = [hostOf(hostRecordOf(1)), hostOf(hostRecordOf(2), { present: random.below(3) > 0 })]
    const environment = environmentOf({ revision, hosts, containers, services })
    const zone = zoneOf(environment, { service: ip('169.254.169.250') })
    const { zone: applied, touched } = takenIn(copy, projection.update(environment))
    own.resolver.apply(applied, touched)
    const fresh = world()
    fresh.resolver.apply(zone)
    for (let ask = 0; ask < 60; ask++) {
      const name = names[random.below(names.length)] ?? ''
      const type = ['A', 'AAAA', 'PTR', 'SRV', 'SOA', 'ANY'][random.below(6)] ?? 'A'
      const options = {
        from: `127.0.0.${1 + random.below(5)}`,
        edns: random.below(2) === 0 ? 1232 : undefined,
      }
      const sorted = ({ answers, ...rest }: ReturnType<typeof readAnswer>) => ({
        ...rest,
        answers: [...answers].sort(),
      })
      const [mine, theirs] = [await own.ask(name, type, options), await fresh.ask(name, type, options)]
      const same = JSON.stringify(sorted(mine)) === JSON.stringify(sorted(theirs))
      if (!same) t.strictSame(sorted(mine), sorted(theirs), `${name} ${type} r${revision}, seed ${seed}`)
    }
  }
  t.pass('3,600 questions in 60 revisions')
})
