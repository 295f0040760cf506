/**
 * Paths, rendering, negotiation and long polls at their edges, without a socket.
 */
import { test } from 'tap'
import { parse } from 'yaml'
import { acceptsGzip, formatOf } from '../../metadata/accept.ts'
import { askedBy } from '../../metadata/answer.ts'
import { Answers } from '../../metadata/answers.ts'
import { Chunks } from '../../metadata/chunks.ts'
import { targetOf, valueAt } from '../../metadata/path.ts'
import { jsonOf, queryEscape, textOf } from '../../metadata/render.ts'
import { nilList, nilMap, type Value } from '../../metadata/value.ts'
import { Waiters } from '../../metadata/wait.ts'
import { yamlOf } from '../../metadata/yaml.ts'
import { millis, seconds } from '../../model/time.ts'
import { FakeClock, SeededRandom } from '../support/ports.ts'

const tree: Value = {
  list: [{ name: 'One', uuid: 'u1', x: 1 }, { uuid: 'u2' }, 'plain', null],
  'a/b': { 'c d': 'deep' },
  Mixed: { Case: { lower: 'found' } },
  nothing: null,
  absent: nilList,
  KEY3: 'upper',
  key3: 'lower',
}

const nobody = { address: '', forwarded: false }

test('paths', async (t) => {
  const at = (target: string): Value | undefined => {
    const read = targetOf(target)
    return read.is === 'path' ? valueAt(tree, read.segments) : undefined
  }
  t.equal(at('/list/0/x'), 1)
  t.equal(at('/list/One/x'), 1)
  t.equal(at('/list/u1/x'), 1)
  t.equal(at('/list/one/x'), 1, 'no regard to case in the end')
  t.strictSame(at('/list/u2'), { uuid: 'u2' })
  t.equal(at('/list/4'), undefined)
  t.equal(at('/list/-1'), undefined)
  t.equal(at('/list/+1'), undefined, 'a plus is a space')
  t.strictSame(at('/list/%2B1'), { uuid: 'u2' }, 'an escaped plus is a sign')
  t.equal(at('/list/999999999999999999'), undefined)
  t.equal(at('/a%2Fb/c+d/'), 'deep')
  t.equal(at('/mixed/CASE/Lower'), 'found')
  t.equal(at('/KEY3'), 'upper')
  t.equal(at('/Key3'), 'lower', 'lower case before any other')
  t.equal(at('/nothing'), null)
  t.equal(at('/nothing/below'), undefined)
  t.equal(at('/absent/0'), undefined)
  t.equal(at('/constructor'), undefined)
  t.equal(at('/__proto__'), undefined)
  t.equal(at('/list/length'), undefined)
  t.equal(at('/%ff'), undefined)
})

test('targets', async (t) => {
  const moved = (target: string): string | undefined => {
    const read = targetOf(target)
    return read.is === 'moved' ? read.location : undefined
  }
  t.equal(moved('//'), '/')
  t.equal(moved('/x//y/?q=//'), '/x/y/?q=//')
  t.equal(moved('/x/./y'), '/x/y')
  t.equal(moved('/x/../..'), '/')
  t.equal(moved('/x/%2e%2E/y'), '/y')
  t.equal(moved('/x/..y/.z'), undefined)
  t.equal(targetOf('/x%2F%2Fy').is, 'path', 'escaped slashes belong to a key')
  for (const bad of ['/%zz', '/%', '/x%1', 'latest', '*']) t.equal(targetOf(bad).is, 'bad', bad)
  t.strictSame(targetOf('http://rancher-metadata/latest/self'), targetOf('/latest/self'), 'absolute form')
  t.strictSame(targetOf('http://rancher-metadata'), targetOf('/'))
})

test('rendering', async (t) => {
  t.equal(textOf(tree), 'KEY3\nMixed/\na%2Fb/\nabsent/\nkey3\nlist/\nnothing\n')
  t.equal(textOf([{ name: 'a b' }, { uuid: 'u' }, {}, [], 1, null]), '0=a+b\n1=u\n2/\n3/\n4\n5\n')
  t.equal(textOf(1.5), '1.5')
  t.equal(textOf(0.1 + 0.2), '0.3')
  t.equal(textOf(100), '100')
  t.equal(textOf(null), '')
  t.equal(textOf(false), 'false')
  t.equal(queryEscape("a b/c:d+e!'()*~.-_é"), 'a+b%2Fc%3Ad%2Be%21%27%28%29%2A~.-_%C3%A9')
  t.equal(queryEscape('\ud800'), '%EF%BF%BD')
  t.equal(
    jsonOf({ b: '<&>\u2028\b\n"\\', a: nilMap }),
    '{"a":null,"b":"\\u003c\\u0026\\u003e\\u2028\\u0008\\n\\"\\\\"}',
  )
  t.equal(jsonOf(['\ud800', Number.NaN, true, 1e21]), '["\ufffd",null,true,1e+21]')
})

test('a segment is written once, wherever it stands', async (t) => {
  const chunks = new Chunks()
  const containers = chunks.segment([{ metadata_kind: 'container', name: 'x' }])
  const services = chunks.segment([{ metadata_kind: 'service', containers }])
  const root = {
    containers: chunks.joined([containers, chunks.segment([{ name: 'y' }]), []]),
    services: chunks.joined([services]),
    stacks: [{ metadata_kind: 'stack', services }],
  }
  const row = chunks.of(root)
  t.equal(Buffer.concat(row).toString(), jsonOf(root))
  const bytes = '{"metadata_kind":"container","name":"x"}'
  const places = row.filter((chunk) => chunk.toString() === bytes)
  t.equal(places.length, 3)
  t.equal(new Set(places).size, 1, 'the same bytes')
})

test('YAML reads back as what it says', async (t) => {
  const odd = [
    '',
    'null',
    'yes',
    '1',
    '1e3',
    '0x1',
    '-',
    '- x',
    '-x',
    'a: b',
    'a #b',
    '#',
    "it's",
    '"q"',
    ' s',
    's ',
    'a\nb',
    '\u0085',
    'é',
    '{',
    '@',
    '~',
    '.5',
    'a:',
    '<<',
    '1:20',
    '?',
    '|',
  ]
  for (const text of odd) {
    for (const version of ['1.1', '1.2'] as const) {
      t.strictSame(
        parse(yamlOf({ [text]: [text, { k: text }] }), { version, merge: false }),
        { [text]: [text, { k: text }] },
        JSON.stringify(text),
      )
    }
  }
  t.equal(
    yamlOf({ a: { b: [[1, 2], { c: null, d: [] }] }, e: nilList, f: nilMap }),
    'a:\n  b:\n  - - 1\n    - 2\n  - c: null\n    d: []\ne: []\nf: {}\n',
  )
})

test('negotiation', async (t) => {
  t.equal(formatOf('text/html, application/json'), 'json')
  t.equal(formatOf('*/*, application/json;q=0.5'), 'text')
  t.equal(formatOf('application/json;q=x'), 'text')
  t.equal(formatOf(',;,'), 'text')
  t.ok(acceptsGzip('deflate, gzip;q=0.5'))
  t.notOk(acceptsGzip('gzip;q=0'))
  t.notOk(acceptsGzip(undefined))
})

test('a request for a long poll', async (t) => {
  const wait = (target: string) => {
    const asked = askedBy({ method: 'GET', target, accept: undefined, client: nobody })
    return asked.is === 'value' ? asked.wait : undefined
  }
  t.strictSame(wait('/latest/version?wait=true&value=x'), { value: 'x', atMost: 60_000 })
  t.strictSame(wait('/latest/version?wait=true&value='), { value: '', atMost: 60_000 })
  t.equal(wait('/latest/version?wait=true'), undefined)
  t.equal(wait('/latest/version?wait=TRUE&value=x'), undefined)
  t.equal(wait('/latest?wait=true&value=x'), undefined, 'a version alone never waits')
  for (const [given, atMost] of [
    ['0', 60],
    ['7', 7],
    ['-1', 0],
    ['121', 120],
    ['99999999999999999999', 120],
    ['x', 60],
    ['1.5', 60],
  ]) {
    t.equal(
      wait(`/latest/a?wait=true&value=x&maxWait=${given}`)?.atMost,
      Number(atMost) * 1000,
      `maxWait=${given}`,
    )
  }
})

test('long polls end at the change or at their deadline', async (t) => {
  const clock = new FakeClock()
  const waiters = new Waiters({ clock })
  let version = 1
  const ends: string[] = []
  waiters.wait(
    () => version === 1,
    seconds(7),
    () => ends.push('change'),
  )
  waiters.wait(
    () => true,
    millis(1500),
    () => ends.push('deadline'),
  )
  waiters
    .wait(
      () => true,
      seconds(1),
      () => ends.push('never'),
    )
    .cancel()
  waiters.wake()
  clock.advance(millis(1499))
  t.strictSame(ends, [])
  clock.advance(millis(1))
  t.strictSame(ends, ['deadline'])
  version = 2
  waiters.wake()
  waiters.wake()
  t.strictSame(ends, ['deadline', 'change'])
  t.equal(waiters.size, 0)
  clock.advance(seconds(60))
  t.equal(ends.length, 2)
})

test('any target gets an answer of the contract', async (t) => {
  const random = new SeededRandom(Number(process.env.DROVER_TEST_SEED ?? 7))
  const rounds = Number(process.env.DROVER_FUZZ_ROUNDS ?? 3000)
  const bits = [
    '/',
    '//',
    '.',
    '..',
    '%',
    '%2F',
    '%zz',
    '%ff',
    '+',
    '?',
    '&',
    '=',
    'wait=true',
    'value=',
    'maxWait=',
    'latest',
    'list',
    '0',
    '-1',
    'One',
    'nothing',
    '#',
    'http://',
    '\u00e9',
    '__proto__',
    '9'.repeat(30),
  ]
  const answers = new Answers({
    source: { versions: ['latest'], generation: 0, isPersonal: () => false, root: () => tree },
    chunks: new Chunks(),
  })
  const seen = new Set<number>()
  for (let round = 0; round < rounds; round += 1) {
    const target = Array.from({ length: random.below(12) }, () => bits[random.below(bits.length)]).join('')
    const asked = askedBy({
      method: 'GET',
      target: `/${target}`,
      accept: bits[random.below(bits.length)],
      client: nobody,
    })
    const answer = answers.answer(asked)
    answers.isUnchanged(asked)
    seen.add(answer.status)
    if (![200, 301, 400, 404].includes(answer.status)) t.fail(target)
    if (answer.location !== undefined) t.not(targetOf(answer.location).is, 'moved', `${target} moves once`)
  }
  t.strictSame([...seen].sort(), [200, 301, 400, 404])
})
