/**
 * TypeScript interfaces out of the shapes of metadata/shapes.ts: the text of client/objects.ts, as Biome formats it.
 */
import type { Schema, Shape } from '../../metadata/shapes.ts'

const head = `/**
 * The objects of the metadata service, as the client's types. Written from metadata/shapes.ts by
 * test/metadata/openapi.test.ts; changed by hand it differs from what is served.
 */
`

const widest = 110

export function interfacesOf(shapes: Readonly<Record<string, Shape>>): string {
  const parts = Object.entries(shapes).map(([name, { description, properties, optional = [] }]) => {
    const lines = Object.entries(properties).flatMap(([key, schema]) => [
      `  /** ${String(schema.description)} */`,
      ...propertyOf(`  readonly ${key}${optional.includes(key) ? '?' : ''}`, unionOf(schema)),
    ])
    return `\n/** ${description} */\nexport interface ${name} {\n${lines.join('\n')}\n}\n`
  })
  return `${head}${parts.join('')}`
}

function propertyOf(start: string, union: readonly string[]): readonly string[] {
  const line = `${start}: ${union.join(' | ')}`
  return line.length <= widest ? [line] : [`${start}:`, ...union.map((each) => `    | ${each}`)]
}

function unionOf(schema: Schema): readonly string[] {
  const { $ref, enum: values, const: value, anyOf, type } = schema
  if (typeof $ref === 'string') return [$ref.slice($ref.lastIndexOf('/') + 1)]
  if (Array.isArray(values)) return values.map(literal)
  if (value !== undefined) return [literal(value)]
  if (Array.isArray(anyOf)) return anyOf.flatMap((each: Schema) => unionOf(each))
  if (type === undefined) return ['unknown']
  return (Array.isArray(type) ? type : [type]).map((name: string) => typeOf(name, schema))
}

const literal = (value: unknown): string => (typeof value === 'string' ? `'${value}'` : String(value))

function typeOf(name: string, { items, additionalProperties }: Schema): string {
  if (name === 'integer') return 'number'
  if (name === 'array') return `readonly ${unionOf((items ?? {}) as Schema).join(' | ')}[]`
  if (name !== 'object') return name
  const values = additionalProperties === true ? ['unknown'] : unionOf(additionalProperties as Schema)
  return `Readonly<Record<string, ${values.join(' | ')}>>`
}
