/**
 * The OpenAPI 3.1 document of the metadata service, from its routes (routes.ts) and the shapes of its objects
 * (shapes.ts). 2015-07-25 is described apart: it has names where the others have objects.
 */
import { type PathParameter, type Place, placesOf, type Shapes } from './places.ts'
import { anyStatus, type Parameter, type Route, routes, type Status } from './routes.ts'
import { oldestShapes, refTo, type Schema, shapes } from './shapes.ts'
import { versionNames, versionOf } from './versions.ts'

type Table = Readonly<Record<string, Schema>>

const oldest = versionNames.find((name) => versionOf(name) === 'v1') ?? ''

const texts: Readonly<Record<Status, string>> = {
  200: 'What was asked for.',
  301: 'The clean path: this one has empty or dot segments.',
  304: 'The client has it already.',
  400: 'No HTTP, or a malformed escape in the path.',
  404: '`Not found` or `Invalid version`.',
  408: 'The request came too slowly.',
  417: 'An expectation that is not met.',
  429: 'Too many connections or long polls of one address.',
  431: 'The head of the request is too large.',
}

const refToResponse = (name: string): Schema => ({ $ref: `#/components/responses/${name}` })

/** `Refused` is what every request may get. */
const responsesOf = (found: Schema): Table => ({
  200: found,
  304: refToResponse('NotModified'),
  404: refToResponse('NotFound'),
  default: refToResponse('Refused'),
})

const text: Schema = { schema: { type: 'string' } }

/** A body in each of the three formats. */
const contentOf = (schema: Schema): Schema => ({
  'text/plain': text,
  'application/json': { schema },
  'application/yaml': text,
})

const withEtag = { headers: { ETag: { schema: { type: 'string' } } } }

const parameterOf = ({ name, in: where, required, means, values }: Parameter): Schema => ({
  name,
  in: where,
  required,
  description: means,
  schema: values === undefined ? { type: 'string' } : { enum: values },
})

const routeTo = (is: Route['is']): Route | undefined => routes.find((route) => route.is === is)
const queries = (routeTo('value')?.parameters ?? []).filter((parameter) => parameter.in === 'query')
const ifNoneMatch: Schema = { name: 'If-None-Match', in: 'header', schema: { type: 'string' } }

const refToParameter = (name: string): Schema => ({ $ref: `#/components/parameters/${name}` })

/** Names are unique among places of all versions. */
const operationIdOf = (path: string): string =>
  path
    .replace(/\W*(\w+)/g, (_, word: string) => `${word[0]?.toUpperCase()}${word.slice(1)}`)
    .replace(/\W/g, '') || 'Versions'

function pathParameter({ name, description, schema }: PathParameter): Schema {
  return { name, in: 'path', required: true, description, schema }
}

function operationAt({ path, summary, content, parameters }: Place, route: Route | undefined): Schema {
  const waits = route?.parameters.some((parameter) => parameter.in === 'query') === true
  const all = [
    ...parameters.map(({ id }) => refToParameter(id)),
    ...(waits ? queries.map(({ name }) => refToParameter(name)) : []),
    refToParameter('If-None-Match'),
  ]
  const responses = responsesOf(refToResponse(content.name))
  return { get: { operationId: operationIdOf(path), summary, parameters: all, responses } }
}

interface Tree {
  readonly paths: Table
  readonly parameters: Table
  readonly responses: Table
}

/** All below `start`; a long poll can wait for everything but the root. */
function treeOf(all: Shapes, start: Omit<Place, 'content'>): Tree {
  const places = placesOf(all, 'Root', start)
  const responses = places.map(({ content }) => {
    const { name, description, schema } = content
    return [name, { description, ...withEtag, content: contentOf(schema) }] as const
  })
  const paths = places.map(
    (place) =>
      [place.path, operationAt(place, routeTo(place.path === start.path ? 'root' : 'value'))] as const,
  )
  const inPaths = places.flatMap(({ parameters }) =>
    parameters.map((each) => [each.id, pathParameter(each)] as const),
  )
  return {
    paths: Object.fromEntries(paths),
    parameters: Object.fromEntries(inPaths),
    responses: Object.fromEntries(responses),
  }
}

const schemasOf = (all: Shapes): Table =>
  Object.fromEntries(
    Object.entries(all).map(([name, { description, properties, optional = [] }]) => {
      const required = Object.keys(properties).filter((key) => !optional.includes(key))
      return [name, { type: 'object', description, properties, required }]
    }),
  )

/** Shapes of which the oldest version has its own, or which hold such ones. */
const ofOldest = ['Root', 'Self', ...Object.keys(oldestShapes)]
const isOfOldest = (name: string): boolean =>
  ofOldest.some((own) => new RegExp(`^${own}(List|Property.*)?$`).test(name))

/** The same with names of the oldest version's own. */
const renamed = <T>(part: T): T =>
  JSON.parse(
    JSON.stringify(part).replace(
      /(#\/components\/(?:schemas|responses|parameters)\/)(\w+)/g,
      (whole, to: string, name: string) => (isOfOldest(name) ? `${to}${name}_${oldest}` : whole),
    ),
  )

/** Only what is of the oldest version alone, under its own names. */
const ownOf = (table: Table): Table =>
  Object.fromEntries(
    Object.entries(renamed(table))
      .filter(([name]) => isOfOldest(name))
      .map(([name, value]) => [`${name}_${oldest}`, value]),
  )

const map: Schema = { type: 'object', additionalProperties: { type: 'string' } }

const target: Schema = {
  type: 'object',
  description: 'A target group of Prometheus, with one target.',
  properties: { labels: map, targets: { type: 'array', items: { type: 'string' } } },
  required: ['labels', 'targets'],
}

const error: Schema = {
  type: 'object',
  properties: { code: { type: 'integer' }, message: { type: 'string' }, type: { const: 'error' } },
  required: ['code', 'message', 'type'],
}

/** Routes that are one path each: `/`, and what is always JSON. */
function fixedPaths(): Table {
  const bodies: Partial<Record<Route['is'], Schema>> = {
    versions: contentOf(map),
    schema: { 'application/json': { schema: { type: 'object' } } },
    targets: { 'application/json': { schema: { type: 'array', items: refTo('Target') } } },
  }
  const fixed = routes.flatMap((route) => {
    const content = bodies[route.is]
    if (content === undefined) return []
    const responses = responsesOf({ description: route.means, ...withEtag, content })
    const parameters = [refToParameter('If-None-Match')]
    const operation = { operationId: operationIdOf(route.path), summary: route.means, parameters, responses }
    return [[route.path, { get: operation }] as const]
  })
  return Object.fromEntries(fixed)
}

function otherResponses(): Table {
  const refusals = anyStatus
    .filter((status) => status !== 404)
    .map((status) => `- ${status}: ${texts[status]}`)
  return {
    NotModified: { description: texts[304] },
    NotFound: { description: texts[404], content: contentOf(refTo('Error')) },
    Refused: { description: refusals.join('\n'), content: { 'text/plain': text } },
  }
}

export function openApi(): Schema {
  const summary = routeTo('root')?.means ?? ''
  const version = routeTo('root')?.parameters[0]
  const newer = (version?.values ?? []).filter((name) => name !== oldest)
  const parameter = {
    id: 'version',
    name: 'version',
    description: version?.means ?? '',
    schema: { enum: newer },
  }
  const tree = treeOf(shapes, { path: '/{version}', summary, parameters: [parameter] })
  const old = treeOf({ ...shapes, ...oldestShapes }, { path: `/${oldest}`, summary, parameters: [] })
  return {
    openapi: '3.1.0',
    info: {
      title: 'Metadata service',
      version: '1.0.0',
      summary: "Rancher 1.6's metadata contract, as Drover serves it to containers.",
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://rancher-metadata' }, { url: 'http://169.254.169.250' }],
    security: [],
    paths: { ...fixedPaths(), ...tree.paths, ...renamed(old.paths) },
    components: {
      schemas: {
        ...schemasOf(shapes),
        ...ownOf(schemasOf({ ...shapes, ...oldestShapes })),
        Target: target,
        Error: error,
      },
      parameters: {
        ...Object.fromEntries(queries.map((query) => [query.name, parameterOf(query)])),
        ...tree.parameters,
        ...ownOf(old.parameters),
        'If-None-Match': ifNoneMatch,
      },
      responses: { ...tree.responses, ...ownOf(old.responses), ...otherResponses() },
    },
  }
}
