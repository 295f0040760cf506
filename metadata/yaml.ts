/**
 * A value as block-style YAML in the manner of go-yaml 2: sorted keys, sequences not indented below their key.
 * Strings that could be read as something else are quoted; long ones are not folded.
 */
import { jsonOf, jsonString } from './render.ts'
import { isDict, isList, Nil, sortedKeys, type Value } from './value.ts'

export const yamlOf = (value: Value): string => `${block(value, '')}\n`

/** A value that starts on the line it is written on; further lines are indented by `indent`. */
function block(value: Value, indent: string): string {
  if (isList(value)) {
    if (value.length === 0) return '[]'
    return value.map((item) => `- ${block(item, `${indent}  `)}`).join(`\n${indent}`)
  }
  if (isDict(value)) {
    const keys = sortedKeys(value)
    if (keys.length === 0) return '{}'
    return keys.map((key) => `${plainOrQuoted(key)}:${child(value[key] ?? null, indent)}`).join(`\n${indent}`)
  }
  if (value instanceof Nil) return value.of === 'list' ? '[]' : '{}'
  return typeof value === 'string' ? plainOrQuoted(value) : jsonOf(value)
}

function child(value: Value, indent: string): string {
  if (isList(value) && value.length > 0) return `\n${indent}${block(value, indent)}`
  if (isDict(value) && Object.keys(value).length > 0) return `\n${indent}  ${block(value, `${indent}  `)}`
  return ` ${block(value, indent)}`
}

/** Words and numbers of YAML 1.1 that are no strings. */
const otherType =
  /^(~|null|true|false|yes|no|on|off|y|n|<<|=|[-+]?(\.inf)|\.nan|[-+]?[\d.][\d_.,:]*(e[-+]?\d+)?|0[xob][\da-f_]+)$/i
const unsafe = /^[-?:,[\]{}#&*!|>'"%@`\s]|\s$|: |:$| #/

function plainOrQuoted(text: string): string {
  const clean = text.toWellFormed()
  if (/[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]|[\u2028\u2029]/u.test(clean))
    return escaped(clean)
  if (clean === '' || otherType.test(clean)) return `"${clean}"`
  const dashed = /^-[^\s-]/.test(clean) && !unsafe.test(clean.slice(1))
  if (unsafe.test(clean) && !dashed) return `'${clean.replaceAll("'", "''")}'`
  return clean
}

/** Double-quoted; control characters that JSON leaves as they are must be escaped in YAML. */
const escaped = (text: string): string =>
  jsonString(text).replace(/[\x7f-\x9f\ufeff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
