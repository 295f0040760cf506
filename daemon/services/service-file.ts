/**
 * The file of `drover service set`: YAML, or JSON, which YAML contains. One schema; whatever does not fit is refused
 * in one line that names the file, the line, the key and what to write instead.
 */
import { readFileSync } from 'node:fs'
import { isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml'
import { z } from 'zod'
import { DroverError, reasonOf } from '../../model/errors.ts'
import { isIpAddress } from '../../model/ip.ts'
import { dnsLabel } from '../../model/names.ts'
import type { DeclaredService } from '../../model/records.ts'
import { nearest } from '../config/nearest.ts'

const label = z
  .string()
  .refine((text) => dnsLabel(text) !== undefined, 'must be a DNS label: letters, digits, - and _')
const isService = (text: string): boolean => {
  const parts = text.split('/')
  return parts.length <= 2 && parts.every((part) => dnsLabel(part) !== undefined)
}
const full = z.string().refine((text) => text.includes('/') && isService(text), 'must be STACK/SERVICE')
const target = z.string().refine(isService, 'must be STACK/SERVICE, or SERVICE of the same stack')
const address = z.string().refine(isIpAddress, 'must be an IP address')
const hostname = z.string().refine(
  (text) =>
    text.length <= 253 &&
    !isIpAddress(text) &&
    text
      .replace(/\.$/, '')
      .split('.')
      .every((part) => dnsLabel(part) !== undefined),
  'must be a host name',
)
const whole = z.number('must be a number').int('must be a whole number').min(0, 'must not be negative')
const most = 256
const textOfMetadata = 256 * 1024

const healthCheck = z.strictObject({
  port: whole.max(65535, 'must be a port').optional(),
  request_line: z.string().max(4096).optional(),
  interval: whole.optional(),
  response_timeout: whole.optional(),
  healthy_threshold: whole.optional(),
  unhealthy_threshold: whole.optional(),
})

const service = z
  .strictObject({
    addresses: z.array(address).min(1, 'names no address').max(most).optional(),
    hostname: hostname.optional(),
    alias: z.array(target).min(1, 'names no service').max(most).optional(),
    links: z.record(target, label).optional(),
    labels: z.record(z.string().max(1024), z.string().max(16_384)).optional(),
    metadata: z
      .record(z.string(), z.json())
      .refine((value) => JSON.stringify(value).length <= textOfMetadata, 'is larger than 256 KiB')
      .optional(),
    scale: whole.optional(),
    health_check: healthCheck.optional(),
  })
  .refine((one) => Object.keys(one).length > 0, 'says nothing: give it addresses, a hostname or an alias')
  .refine(
    ({ alias, addresses, hostname: host }) =>
      alias === undefined || (addresses === undefined && host === undefined),
    'is an alias of other services and cannot have addresses or a hostname of its own',
  )
  .refine(
    ({ addresses, hostname: host }) => addresses === undefined || host === undefined,
    'has both addresses and a hostname: keep one',
  )

const fileSchema = z.strictObject({ services: z.record(full, service) })

type Said = z.output<typeof service>

/** Which keys a map at this depth may have. */
const known: Readonly<Record<number, readonly string[]>> = {
  0: Object.keys(fileSchema.shape),
  2: Object.keys(service.shape),
  3: Object.keys(healthCheck.shape),
}

/** Throws SERVICE_INVALID; `-` is standard input. */
export function readServices(file: string): readonly DeclaredService[] {
  const name = file === '-' ? 'standard input' : file
  let text: string
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (cause) {
    throw new DroverError('SERVICE_INVALID', `${name} cannot be read: ${reasonOf(cause)}`, { cause })
  }
  return servicesIn(text, name)
}

/** What a text declares; `file` is what messages call it. */
export function servicesIn(text: string, file: string): readonly DeclaredService[] {
  const counter = new LineCounter()
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false })
  const refuse = (node: Node | null | undefined, why: string): DroverError => {
    const offset = node?.range?.[0]
    const place = offset === undefined ? file : `${file}:${counter.linePos(offset).line}`
    return new DroverError('SERVICE_INVALID', `${place}: ${why}`)
  }
  const [error] = document.errors
  if (error !== undefined)
    throw new DroverError(
      'SERVICE_INVALID',
      `${file}:${counter.linePos(error.pos[0]).line}: ${error.message}`,
    )
  const result = fileSchema.safeParse(plain(document, file))
  if (result.success)
    return Object.entries(result.data.services).map(([name, said]) => declarationOf(name, said))
  const { issues } = result.error
  // A mistyped key is also a missing one: the former says more.
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]
  const path = (issue?.path ?? []).map(String)
  if (issue?.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys
    const meant = nearest(key, known[path.length] ?? [])
    const hint = meant === undefined ? '' : `, did you mean \`${meant}\`?`
    throw refuse(
      keyNode(document.contents, [...path, key]),
      `unknown key \`${[...path, key].join('.')}\`${hint}`,
    )
  }
  throw refuse(
    keyNode(document.contents, path),
    path.length === 0
      ? 'must be a map with the key `services`'
      : `\`${path.join('.')}\` ${sentenceOf(issue)}`,
  )
}

type Issue = z.core.$ZodIssue | undefined

/** For a key that does not fit, what is wrong with the key itself. */
function sentenceOf(issue: Issue): string {
  if (issue?.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message
  if (issue?.code === 'invalid_type') return `must be ${articled(issue.expected)}`
  return issue?.message ?? 'does not fit'
}

const words: Readonly<Record<string, string>> = { array: 'a list', object: 'a map', record: 'a map' }
const articled = (expected: string): string => words[expected] ?? `a ${expected}`

function plain(document: { toJS(): unknown }, file: string): unknown {
  try {
    return document.toJS()
  } catch (cause) {
    throw new DroverError('SERVICE_INVALID', `${file}: ${reasonOf(cause)}`, { cause })
  }
}

/** Where a key, or else the nearest thing around it, is written. */
function keyNode(root: unknown, path: readonly string[]): Node | undefined {
  let node = root as Node | undefined
  let found = node
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === part)
      if (pair === undefined) return found
      found = pair.key as Node
      node = (pair.value ?? undefined) as Node | undefined
    } else {
      const items: readonly unknown[] = (node as { items?: readonly unknown[] } | undefined)?.items ?? []
      node = items[Number(part)] as Node | undefined
      found = node ?? found
    }
  }
  return found
}

function declarationOf(key: string, said: Said): DeclaredService {
  const [stack = '', name = ''] = key.split('/')
  const inFull = (text: string): string => (text.includes('/') ? text : `${stack}/${text}`)
  const { addresses = [], alias = [], links = {} } = said
  const external = addresses.length > 0 || said.hostname !== undefined
  return {
    stack,
    name,
    kind: alias.length > 0 ? 'dnsService' : external ? 'externalService' : 'service',
    externalIps: addresses,
    hostname: said.hostname ?? null,
    targets: alias.map(inFull),
    links: Object.fromEntries(Object.entries(links).map(([to, as]) => [inFull(to), as])),
    labels: said.labels ?? {},
    metadata: said.metadata ?? {},
    scale: said.scale ?? null,
    healthCheck: said.health_check ?? null,
  }
}
