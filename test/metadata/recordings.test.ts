/**
 * 578 requests recorded from the original (rancher-metadata 0.7.4 on its own example files) against our paths,
 * rendering and errors over the same trees. The recordings hold the original project's own data, so they are not
 * part of this repository: without them the test skips. Deliberate differences are rules with a reason.
 */
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'tap'
import { parse } from 'yaml'
import { type Answer, askedBy, textOfBody } from '../../metadata/answer.ts'
import { Answers, type Source } from '../../metadata/answers.ts'
import { Chunks } from '../../metadata/chunks.ts'
import { isDict, type Value } from '../../metadata/value.ts'

interface Recorded {
  readonly method: string
  readonly path: string
  readonly src: string
  readonly req_headers: Readonly<Record<string, string>>
  /** Null where the original closed the connection. */
  readonly status: number | null
  readonly resp_headers?: Readonly<Record<string, string>>
  readonly body: string | null
}

const folder = new URL('../../../shared/compat/', import.meta.url)
const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8')
const sets = [
  {
    name: 'simple',
    input: 'meta-0.7.4-simple.input.yml',
    golden: 'meta-0.7.4-simple.golden.json',
    count: 266,
  },
  {
    name: 'answers',
    input: 'meta-0.7.4-answers.input.json',
    golden: 'meta-0.7.4-answers.golden.json',
    count: 312,
  },
]

/** The file format of the original: version → client or `default` → tree; defaults fill what a client lacks. */
function sourceOf(file: Value): Source {
  const versions = isDict(file) ? file : {}
  return {
    versions: Object.keys(versions),
    generation: 0,
    isPersonal: () => true,
    root(version, { address }) {
      const clients = versions[version] ?? null
      if (!isDict(clients)) return undefined
      const defaults = clients.default ?? null
      const own = clients[address] ?? null
      return isDict(own) && isDict(defaults) ? { ...defaults, ...own } : (own ?? defaults)
    },
  }
}

interface Difference {
  readonly why: string
  applies(recorded: Recorded, answer: Answer): boolean
}

/** After these, body and status must be the same. */
const differences: readonly Difference[] = [
  {
    why: '404 where the original panicked on the way through a null and closed the connection',
    applies: ({ status }, answer) => status === null && answer.status === 404,
  },
  {
    why: 'each segment is matched without regard to case when the whole path is found neither as written nor lower-cased',
    applies: ({ path, status }, answer) => status === 404 && answer.status === 200 && /[A-Za-z]/.test(path),
  },
]

function typeFits(recorded: Recorded, answer: Answer): boolean {
  const was = recorded.resp_headers?.['Content-Type']
  if (answer.type === 'application/json') return textOfBody(answer.body).startsWith(recorded.body?.[0] ?? '')
  return answer.type === 'application/yaml' ? was !== undefined : was === answer.type
}

for (const { name, input, golden, count } of sets) {
  const skip = existsSync(new URL(golden, folder)) ? false : `${golden} is not here: see ../shared/compat`
  test(`requests recorded on the example ${name}`, { skip }, async (t) => {
    const all = JSON.parse(read(golden)) as readonly Recorded[]
    t.equal(all.length, count)
    const source = sourceOf(parse(read(input)) as Value)
    const answers = new Answers({ source, chunks: new Chunks() })
    const used = new Map<string, number>()
    for (const recorded of all) {
      const { method, path, src, req_headers: headers } = recorded
      const client = { address: src, forwarded: false }
      const answer = answers.answer(askedBy({ method, target: path, accept: headers?.Accept, client }))
      const label = `${method} ${path} from ${src} accepting ${headers?.Accept ?? 'nothing'}`
      const body = method === 'HEAD' ? '' : textOfBody(answer.body)
      if (recorded.status === answer.status && recorded.body === body) {
        t.ok(typeFits(recorded, answer), `type ${label}`)
        t.equal(
          answer.shared,
          recorded.resp_headers?.['Access-Control-Allow-Origin'] === '*',
          `CORS ${label}`,
        )
        t.equal(answer.location, recorded.resp_headers?.Location, `location ${label}`)
        continue
      }
      const known = differences.find((difference) => difference.applies(recorded, answer))
      if (known === undefined)
        t.same({ status: answer.status, body }, { status: recorded.status, body: recorded.body }, label)
      else used.set(known.why, (used.get(known.why) ?? 0) + 1)
    }
    for (const [why, times] of used) t.comment(`${times} × ${why}`)
    t.ok([...used.values()].reduce((sum, times) => sum + times, 0) < count / 10, 'differences are few')
  })
}
