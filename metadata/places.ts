/**
 * The places of the tree that the published schema names: every branch has a path of its own; the scalars, maps and
 * lists of an object share `…/{property}`, and what is inside of them `…/{property}/{key}`. Pure.
 */
import { refTo, type Schema, type Shape } from './shapes.ts'

export type Shapes = Readonly<Record<string, Shape>>

export interface PathParameter {
  /** Unique among all: parameters of one name differ from place to place. */
  readonly id: string
  readonly name: string
  readonly description: string
  readonly schema: Schema
}

/** What several places share: `Container`, `ContainerList`, `ContainerProperty`, `ContainerPropertyItem`. */
export interface Content {
  readonly name: string
  readonly description: string
  readonly schema: Schema
}

export interface Place {
  readonly path: string
  readonly summary: string
  readonly content: Content
  readonly parameters: readonly PathParameter[]
}

interface Target {
  readonly name: string
  readonly isList: boolean
}

/** The shape that a property leads to, or a list of it; undefined for everything else. */
function targetOf(schema: Schema): Target | undefined {
  const items = schema.items as Schema | undefined
  const ref = schema.$ref ?? items?.$ref
  if (typeof ref !== 'string') return undefined
  return { name: ref.slice(ref.lastIndexOf('/') + 1), isList: items?.$ref !== undefined }
}

/** Every place at and below an object of a shape. */
export function placesOf(all: Shapes, name: string, start: Omit<Place, 'content'>): readonly Place[] {
  const { description = '', properties = {} } = all[name] ?? {}
  const place: Place = { ...start, content: { name, description, schema: refTo(name) } }
  const entries = Object.entries(properties)
  const branches = entries.flatMap(([key, schema]) => {
    const target = targetOf(schema)
    return target === undefined ? [] : branchPlaces(all, target, key, schema, place)
  })
  const leaves = entries.filter(([, schema]) => targetOf(schema) === undefined)
  return [place, ...branches, ...leafPlaces(name, leaves, place)]
}

function branchPlaces(
  all: Shapes,
  target: Target,
  key: string,
  schema: Schema,
  above: Place,
): readonly Place[] {
  const { name, isList } = target
  const summary = String(schema.description)
  const path = `${above.path}/${key}`
  if (!isList) return placesOf(all, name, { path, summary, parameters: above.parameters })
  const description = `A list of ${name}.`
  const content = { name: `${name}List`, description, schema: { type: schema.type, items: schema.items } }
  const one = name.toLowerCase()
  const element = {
    id: one,
    name: one,
    description: 'Index from 0, name or UUID, in this order.',
    schema: { type: 'string' },
  }
  const item = {
    path: `${path}/{${one}}`,
    summary: all[name]?.description ?? '',
    parameters: [...above.parameters, element],
  }
  return [{ path, summary, content, parameters: above.parameters }, ...placesOf(all, name, item)]
}

type Leaf = readonly [key: string, schema: Schema]

function leafPlaces(name: string, leaves: readonly Leaf[], { path, parameters }: Place): readonly Place[] {
  if (leaves.length === 0) return []
  const schemas = leaves.map(([, schema]) => schema)
  const names = leaves.map(([key]) => key)
  const summary = `A property of ${name} that is no ${name === 'Root' ? 'list' : 'branch'} of objects.`
  const property = { id: `${name}Property`, name: 'property', description: summary, schema: { enum: names } }
  const leaf: Place = {
    path: `${path}/{property}`,
    summary,
    content: { name: `${name}Property`, description: summary, schema: anyOf(schemas) },
    parameters: [...parameters, property],
  }
  const below = belowOf(schemas)
  if (below.length === 0) return [leaf]
  const holds = `What a map or a list of ${name} holds.`
  const key = {
    id: 'key',
    name: 'key',
    description: 'A key of a map, or an index of a list.',
    schema: { type: 'string' },
  }
  const inside: Place = {
    path: `${leaf.path}/{key}`,
    summary: holds,
    content: { name: `${name}PropertyItem`, description: holds, schema: anyOf(below) },
    parameters: [...leaf.parameters, key],
  }
  return [leaf, inside]
}

/** Schemas one step below leaves: items of lists, values of maps. */
function belowOf(leaves: readonly Schema[]): readonly Schema[] {
  const inner = leaves.map((leaf) => leaf.items ?? leaf.additionalProperties)
  return inner.flatMap((schema) => {
    if (schema === true) return [{}]
    return typeof schema === 'object' && schema !== null ? [schema as Schema] : []
  })
}

/** Each different schema once; anything where one of them is open. */
function anyOf(schemas: readonly Schema[]): Schema {
  const bare = schemas.map(({ description: _, ...schema }) => JSON.stringify(schema))
  const different = [...new Set(bare)].map((text): Schema => JSON.parse(text))
  return different.some((schema) => Object.keys(schema).length === 0) ? {} : { anyOf: different }
}
