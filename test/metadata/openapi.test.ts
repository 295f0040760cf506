/**
 * The published schema against the service: the files that are written from it, the rules of OpenAPI 3.1, every
 * answer of a real server on every path of the document, and the trees that the original served.
 * DROVER_WRITE_DOCS=1 writes the files instead of comparing them.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { type Test, test } from 'tap'
import { openApi } from '../../metadata/openapi.ts'
import { type Schema, shapes } from '../../metadata/shapes.ts'
import { interfacesOf } from '../support/interfaces.ts'
import { metadataOf, shopOf } from '../support/metadata.ts'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
type Dict = { [key: string]: Json }

const document = openApi() as {
  readonly paths: Readonly<Record<string, { readonly get: Operation }>>
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>
    readonly responses: Readonly<Record<string, Response>>
    readonly parameters: Readonly<Record<string, Parameter>>
  }
}

interface Response {
  readonly $ref?: string
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>
}

interface Parameter {
  readonly $ref?: string
  readonly name?: string
  readonly schema?: Schema
}

interface Operation {
  readonly operationId: string
  readonly parameters?: readonly Parameter[]
  readonly responses: Readonly<Record<string, Response>>
}

const repository = new URL('../../', import.meta.url)

function fileIs(t: Test, name: string, wanted: string): void {
  const file = new URL(name, repository)
  if (process.env.DROVER_WRITE_DOCS === '1') writeFileSync(file, wanted)
  const same = readFileSync(file, 'utf8') === wanted
  t.ok(same, `${name}: DROVER_WRITE_DOCS=1 node test/metadata/openapi.test.ts writes it`)
}

test('files that are written from the shapes', async (t) => {
  fileIs(t, 'docs/openapi.json', `${JSON.stringify(document, undefined, 2)}\n`)
  fileIs(t, 'client/objects.ts', interfacesOf(shapes))
})

test('the document is one of OpenAPI 3.1', async (t) => {
  const official = readFileSync(new URL('../fixtures/openapi-3.1.schema.json', import.meta.url), 'utf8')
  const fits = new Ajv2020({ strict: false, validateFormats: false }).compile(JSON.parse(official) as object)
  t.ok(fits(JSON.parse(JSON.stringify(document))), JSON.stringify(fits.errors?.slice(0, 3)))
  t.notOk(fits({ ...document, paths: { nope: {} } }), 'a path without its slash is noticed')
  const operations = Object.values(document.paths).map(({ get }) => get.operationId)
  t.equal(new Set(operations).size, operations.length, 'every operation has its own name')
})

/** Keys that the document does not name are errors here, though clients must ignore them. */
const closed = (schema: Schema): Schema => ({ ...schema, additionalProperties: false })
const api = {
  ...document,
  components: {
    schemas: Object.fromEntries(
      Object.entries(document.components.schemas).map(([name, schema]) => [name, closed(schema)]),
    ),
  },
}
const ajv = new Ajv2020({ strict: false, allErrors: true })
ajv.addSchema(api, 'api')

const nameIn = (ref: string | undefined): string => ref?.split('/').at(-1) ?? ''

/** The schema of a JSON body. */
function jsonOf(response: Response | undefined): Schema {
  const { content } = document.components.responses[nameIn(response?.$ref)] ?? response ?? {}
  const schema = content?.['application/json']?.schema
  if (schema === undefined) throw new TypeError(`no JSON in ${JSON.stringify(response)}`)
  return schema
}

/** What `{property}` may be on a path. */
function propertiesOf({ parameters = [] }: Operation): readonly string[] {
  const all = parameters.map((each) => document.components.parameters[nameIn(each.$ref)] ?? each)
  return (all.find(({ name }) => name === 'property')?.schema?.enum ?? []) as readonly string[]
}

const validatorOf = (schema: Schema): ValidateFunction =>
  ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/components/', '"api#/components/')) as object)

/** Where a template leads in a real tree: concrete paths; elements by index, name and uuid. */
function* pathsLike(
  template: readonly string[],
  value: Json,
  operation: Operation,
): Generator<readonly string[]> {
  const [segment, ...rest] = template
  if (segment === undefined) {
    yield []
    return
  }
  for (const [key, inner] of stepsAt(segment, value, operation)) {
    for (const more of pathsLike(rest, inner, operation)) yield [key, ...more]
  }
}

function stepsAt(segment: string, value: Json, operation: Operation): readonly (readonly [string, Json])[] {
  if (!segment.startsWith('{')) {
    const inner = (value as Dict)[segment]
    return inner === undefined ? [] : [[segment, inner]]
  }
  const name = segment.slice(1, -1)
  if (name === 'property') {
    return propertiesOf(operation).flatMap((key) => {
      const inner = (value as Dict)[key]
      return inner === undefined ? [] : [[key, inner] as const]
    })
  }
  if (typeof value !== 'object' || value === null) return []
  if (!Array.isArray(value)) return Object.entries(value)
  const [first, second] = value
  if (first === undefined) return []
  const { name: own, uuid } = Object(first) as Dict
  // A sidekick has its primary's uuid: only the first of a list is sure to be found by it.
  const keys = typeof own === 'string' ? ['0', own, String(uuid)] : ['0']
  const others = second === undefined ? [] : [['1', second] as const]
  return [...keys.map((key) => [key, first] as const), ...others]
}

test('every path of the document answers as it says', async (t) => {
  const { ask } = await metadataOf(t, shopOf())
  const wrong: string[] = []
  let answered = 0
  for (const [template, { get }] of Object.entries(document.paths)) {
    const fits = validatorOf(jsonOf(get.responses[200]))
    const paths = await concrete(template, get, ask)
    if (paths.length === 0) wrong.push(`${template} leads nowhere in this tree`)
    for (const path of paths) {
      const { status, type, text } = await ask(path)
      if (status !== 200 || type !== 'application/json') wrong.push(`${path}: ${status} ${type}`)
      else if (!fits(JSON.parse(text))) wrong.push(`${path}: ${ajv.errorsText(fits.errors)}: ${text}`)
    }
    answered += paths.length
  }
  t.strictSame(wrong, [])
  t.comment(`${answered} answers on ${Object.keys(document.paths).length} paths`)
})

type Asking = (path: string) => Promise<{ readonly status: number; readonly text: string }>

/** All ways through the real tree that fit a template. */
async function concrete(template: string, get: Operation, ask: Asking): Promise<readonly string[]> {
  const [, start = '', ...rest] = template.split('/')
  if (start === '' || !/^(\{version\}|\d{4}-)/.test(start)) return [template]
  const versions = start === '{version}' ? ['2015-12-19', '2016-07-29', 'latest'] : [start]
  const all = versions.map(async (version) => {
    const tree = JSON.parse((await ask(`/${version}`)).text) as Json
    const escaped = (path: readonly string[]): string =>
      path.map((key) => `/${encodeURIComponent(key)}`).join('')
    return [...pathsLike(rest, tree, get)].map((path) => `/${version}${escaped(path)}`)
  })
  return (await Promise.all(all)).flat()
}

test('what is served at /openapi.json is this document', async (t) => {
  const { ask } = await metadataOf(t, shopOf())
  const { text, type } = await ask('/openapi.json')
  t.strictSame(JSON.parse(text), JSON.parse(JSON.stringify(document)))
  t.equal(type, 'application/json')
  t.equal(
    (await ask('/')).text,
    '{"2015-07-25":"/2015-07-25","2015-12-19":"/2015-12-19","2016-07-29":"/2016-07-29","latest":"/latest"}',
  )
})

test('errors are as the document says', async (t) => {
  const { ask } = await metadataOf(t, shopOf())
  const fits = validatorOf(jsonOf(document.components.responses.NotFound))
  for (const path of [
    '/latest/nope',
    '/2011-01-01',
    '/latest/self/container/nope',
    '/openapi.json/x',
    '/prometheus',
  ]) {
    const { status, text } = await ask(path)
    t.equal(status, 404, path)
    t.ok(fits(JSON.parse(text)), text)
  }
})

test('the trees of the original are what the document says', async (t) => {
  const recorded = JSON.parse(
    readFileSync(new URL('../fixtures/meta-0.10.4-trees.golden.json', import.meta.url), 'utf8'),
  ) as { readonly trees: Readonly<Record<string, Dict>> }
  for (const [key, tree] of Object.entries(recorded.trees)) {
    const name = key.startsWith('2015-07-25') ? 'Root_2015-07-25' : 'Root'
    const fits = validatorOf({ $ref: `#/components/schemas/${name}` })
    t.ok(fits(tree), `${key}: ${ajv.errorsText(fits.errors)}`)
    const [first, ...others] = tree.containers as Dict[]
    t.notOk(
      fits({ ...tree, containers: [{ ...first, state: 'afloat' }, ...others] }),
      'another state is noticed',
    )
    t.notOk(
      fits({ ...tree, containers: [{ ...first, sate: 'running' }, ...others] }),
      'another key is noticed',
    )
  }
})

test('every key is in docs/metadata.md', async (t) => {
  const page = readFileSync(new URL('docs/metadata.md', repository), 'utf8')
  const rows = page.split('\n').filter((line) => line.startsWith('|'))
  for (const [shape, object] of [
    ['Root', 'root'],
    ['Container', 'container'],
    ['Service', 'service'],
    ['Stack', 'stack'],
    ['Host', 'host'],
  ] as const) {
    const own = rows
      .filter((row) => /all/.test(row.split('|')[1] ?? '') || row.split('|')[1]?.includes(object))
      .join('\n')
    const keys = Object.keys(shapes[shape]?.properties ?? {})
    t.strictSame(
      keys.filter((key) => !own.includes(`\`${key}\``)),
      [],
      `${shape}: keys without a source`,
    )
  }
})
