/**
 * The routes of the metadata service as data, in one place: requests are told apart by this table, and the published
 * schema and the clients are made from it. How a path below a version is looked up is said in path.ts.
 */
import { versionNames } from './versions.ts'

export interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query'
  readonly required: boolean
  readonly means: string
  /** What it may be, where that is a closed set. */
  readonly values?: readonly string[]
}

export interface Route {
  readonly is: 'versions' | 'root' | 'value' | 'schema' | 'targets' | 'nothing'
  /** A template: `{version}` is one segment, `{path}` is all that follows, slashes included. */
  readonly path: string
  readonly means: string
  readonly parameters: readonly Parameter[]
  /** What may come back besides what every request may get (`anyStatus`). */
  readonly statuses: readonly Status[]
}

/** Answered with GET and HEAD; any other method is 404, as with the original. */
export const methods = ['GET', 'HEAD'] as const

export const mediaTypes = {
  text: 'text/plain; charset=utf-8',
  json: 'application/json',
  yaml: 'application/yaml',
} as const

export type Status = 200 | 301 | 304 | 400 | 404 | 408 | 417 | 429 | 431

/** 301: the clean path; 400: no HTTP or a malformed escape; 408: came too slowly; 429, 431: docs/metadata.md, limits. */
export const anyStatus: readonly Status[] = [301, 400, 404, 408, 417, 429, 431]

const version: Parameter = {
  name: 'version',
  in: 'path',
  required: true,
  means: 'Version of the contract; `latest` is the newest.',
  values: versionNames,
}

const path: Parameter = {
  name: 'path',
  in: 'path',
  required: true,
  means: 'Keys, indexes, names or uuids, separated by slashes.',
}

/** A long poll: both `wait=true` and `value` make one. */
const waiting: readonly Parameter[] = [
  {
    name: 'wait',
    in: 'query',
    required: false,
    means: '`true` waits until the path exists and is not `value`.',
    values: ['true'],
  },
  {
    name: 'value',
    in: 'query',
    required: false,
    means: 'What the client has: the text of a scalar, or the ETag of a map or list.',
  },
  {
    name: 'maxWait',
    in: 'query',
    required: false,
    means: 'Seconds to wait at most: 60 if missing or 0, never more than 120.',
  },
]

export const routes: readonly Route[] = [
  {
    is: 'versions',
    path: '/',
    means: 'The versions of the contract, as a map from name to path.',
    parameters: [],
    statuses: [200, 304],
  },
  {
    is: 'nothing',
    path: '/favicon.ico',
    means: 'There is none; browsers ask.',
    parameters: [],
    statuses: [404],
  },
  {
    is: 'schema',
    path: '/openapi.json',
    means: 'This description of the service, as OpenAPI 3.1. Always JSON.',
    parameters: [],
    statuses: [200, 304],
  },
  {
    is: 'targets',
    path: '/prometheus/sd',
    means: 'Containers that ask to be scraped, for `http_sd_configs` of Prometheus. Always JSON.',
    parameters: [],
    statuses: [200, 304],
  },
  {
    is: 'targets',
    path: '/prometheus/sd/all',
    means: 'Every exposed TCP port of every container, for `http_sd_configs` with relabelling. Always JSON.',
    parameters: [],
    statuses: [200, 304],
  },
  {
    is: 'root',
    path: '/{version}',
    means: 'Everything that one version shows to the asker.',
    parameters: [version],
    statuses: [200, 304],
  },
  {
    is: 'value',
    path: '/{version}/{path}',
    means: 'One value of the tree, a scalar, a map or a list.',
    parameters: [version, path, ...waiting],
    statuses: [200, 304],
  },
]

/** Which route a path takes. `deep` says that a slash follows the first segment: `/latest/` may wait, `/latest` not. */
export function routeOf(segments: readonly string[], deep: boolean): Route['is'] {
  const fixed = routes.find((route) => !route.path.includes('{') && route.path === `/${segments.join('/')}`)
  const slashed = deep && segments.length === 1
  if (fixed !== undefined && !slashed) return fixed.is
  return deep ? 'value' : 'root'
}
