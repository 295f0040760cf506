/**
 * The records that hosts publish, as they stand in the store: schemas for what comes from outside, types for
 * what is inside. A record that does not fit is refused with the path of what is wrong. Fields only grow.
 */
import { z } from 'zod'
import type { Branded } from './brand.ts'
import { fromBase64 } from './bytes.ts'
import { type Cidr, type Ipv4, isIpAddress, networkOf, parseCidr, parseIpv4 } from './ip.ts'
import type { Instant } from './time.ts'
import type { Uuid } from './uuid.ts'

/** A host: the UUID-shaped digest of its signing key, so that nobody else can speak in its name. */
export type HostId = Branded<string, 'HostId'>

/** Docker's 64-digit container id. */
export type ContainerId = Branded<string, 'ContainerId'>

const parsed = <T>(parse: (text: string) => T | undefined, what: string) =>
  z.string().transform((text, context): T => {
    const value = parse(text)
    if (value !== undefined) return value
    context.addIssue({ code: 'custom', message: `not ${what}` })
    return z.NEVER
  })

const branded = <T extends string>(pattern: RegExp) =>
  z
    .string()
    .regex(pattern)
    .transform((text) => text as T)

export const ipv4Field = parsed(parseIpv4, 'an IPv4 address')
export const cidrField = parsed(parseCidr, 'an IPv4 network such as 10.42.0.0/16')
export const hostIdField = branded<HostId>(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
export const containerIdField = branded<ContainerId>(/^[0-9a-f]{64}$/)
const uuidField = branded<Uuid>(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
const instantField = z
  .number()
  .nonnegative()
  .transform((value) => value as Instant)
const keyField = z.string().refine((text) => fromBase64(text, 32) !== undefined, 'not 32 bytes of base64')
const ipField = z.string().refine(isIpAddress, 'not an IP address')
const portField = z.number().int().min(1).max(65535)
const textField = z.string().max(4096)
const labelsField = z.record(z.string().max(1024), z.string().max(16_384))

/** Prefix lengths of blocks whose addresses are not covered by fewer key prefixes; see ipam/exclusion.ts. */
const tooManyKeys = new Set([9, 17, 25])

export const settingsSchema = z
  .object({
    name: textField,
    uuid: uuidField,
    subnet: cidrField,
    /** Prefix length of a host's blocks. */
    blockBits: z.number().int().min(8).max(30),
    /** The zone of the environment's names. */
    domain: textField,
    createdAt: instantField,
  })
  .refine(({ subnet, blockBits }) => !tooManyKeys.has(Math.max(blockBits, networkOf(subnet).bits)), {
    path: ['blockBits'],
    message:
      'blocks of /9, /17 and /25 cannot be claimed: each needs 129 of the 128 conditions that etcd allows',
  })
/** What all hosts of an environment agree on; written once by `drover init`. */
export type Settings = Readonly<z.output<typeof settingsSchema>>

export const hostSchema = z.object({
  id: hostIdField,
  name: textField,
  hostname: textField,
  /** Ed25519 public key, base64 of 32 bytes (RFC 8032). */
  signingKey: keyField,
  /** X.509 of the signing key by the environment's CA, PEM. */
  certificate: z.string().max(8192),
  /** X25519 public key of the WireGuard backend, base64 of 32 bytes. */
  wireguardKey: keyField,
  /** Where other hosts reach this one on the underlay. */
  endpoint: z.object({ address: ipField, wireguard: portField }),
  /** The host's own address in the environment; null until it owns a block. */
  managed: ipv4Field.nullable(),
  /** What the tunnel of this host can do, such as `checksum-marks` (tunnel/engine-facts.ts). */
  capabilities: z.array(textField).max(32),
  /** Which engine runs WireGuard on this host. */
  wireguardEngine: z.enum(['kernel', 'userspace']).optional(),
  /** Where the IKE daemon of this host listens, and who encrypts: the kernel, or that daemon. Absent without one. */
  ipsec: z.object({ port: portField, esp: z.enum(['kernel', 'userspace']) }).optional(),
  /** Fingerprint of the CA whose key this host holds. */
  authority: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  /** Since when this host's newest preshared keys are meant to be used; absent where it wants none. */
  presharedSince: instantField.optional(),
  /** The Docker engine's version; empty while there is none. */
  engine: textField,
  labels: labelsField,
  /** Memory in MiB, processors in thousandths, free disk in MiB. */
  memory: z.number(),
  milliCpu: z.number(),
  disk: z.number(),
  createdAt: instantField,
})
export type HostRecord = Readonly<z.output<typeof hostSchema>>

/** Docker's states. */
export const containerStates = [
  'created',
  'running',
  'paused',
  'restarting',
  'removing',
  'exited',
  'dead',
] as const
export type ContainerState = (typeof containerStates)[number]

/** Docker's HEALTHCHECK states. */
export const healthStates = ['none', 'starting', 'healthy', 'unhealthy'] as const
export type HealthState = (typeof healthStates)[number]

export const containerSchema = z.object({
  id: containerIdField,
  uuid: uuidField,
  host: hostIdField,
  /** Docker's name without the leading slash. */
  name: textField,
  hostname: textField,
  image: textField,
  /** The managed address; null for one that has none (host network, or not attached yet). */
  address: ipv4Field.nullable(),
  mac: textField.nullable(),
  state: z.enum(containerStates),
  health: z.enum(healthStates),
  stack: textField.nullable(),
  service: textField.nullable(),
  /** Name of the sidekick inside the service's unit; null for the primary. */
  sidekick: textField.nullable(),
  /** Number within the service, from 1. */
  index: z.number().int().min(0),
  startCount: z.number().int().min(0),
  labels: labelsField,
  /** Published ports as `ip:public:private/proto`. */
  ports: z.array(textField).max(1024),
  /** Exposed ports as `private/proto`. */
  exposed: z.array(textField).max(1024),
  /** The container whose network namespace this one shares. */
  networkFrom: containerIdField.nullable(),
  /** Addresses on the engine's own networks; they mean something on their host only. */
  engineAddresses: z.array(ipField).max(64),
  dns: z.array(textField).max(16),
  dnsSearch: z.array(textField).max(32),
  /** Link name → container name, from `--link`. */
  links: labelsField,
  /** What stands between this container and what it asked for; empty when nothing does. */
  problems: z.array(textField).max(16),
  createdAt: instantField,
  /** When the container entered its state. */
  since: instantField,
})
export type ContainerRecord = Readonly<z.output<typeof containerSchema>>

export const serviceKinds = ['service', 'externalService', 'dnsService', 'loadBalancerService'] as const

export const serviceSchema = z.object({
  stack: textField,
  name: textField,
  kind: z.enum(serviceKinds),
  /** Addresses of an external service. */
  externalIps: z.array(ipField).max(256).default([]),
  /** Host name of an external service: a CNAME. */
  hostname: textField.nullable().default(null),
  /** Targets of a service alias, as `stack/service`. */
  targets: z.array(textField).max(256).default([]),
  /** `stack/service` → alias. */
  links: labelsField.default({}),
  labels: labelsField.default({}),
  /** What the user declared for readers of the metadata service. */
  metadata: z.record(z.string(), z.unknown()).default({}),
  scale: z.number().int().min(0).nullable().default(null),
  /** As readers of the metadata service know it; Docker's HEALTHCHECK is what decides about DNS. */
  healthCheck: z.record(z.string(), z.unknown()).nullable().default(null),
})
/** What people declare about a service because no container can say it. */
export type DeclaredService = Readonly<z.output<typeof serviceSchema>>

/** A block or a pinned address: who holds it since which epoch; the higher epoch wins. */
export const claimSchema = z.object({
  host: hostIdField,
  epoch: z.number().int().min(0),
  /** The container a pinned address belongs to. */
  container: containerIdField.nullable().default(null),
  /** False while the holder of the block around a pin has not confirmed it. */
  confirmed: z.boolean().default(true),
})
export type Claim = Readonly<z.output<typeof claimSchema>>

export const aliveSchema = z.object({ host: hostIdField, since: instantField })
export type AliveRecord = Readonly<z.output<typeof aliveSchema>>

/** Which records of a host live: the counters of their envelopes, as ascending differences in base 36. */
export const headSchema = z.object({
  host: hostIdField,
  time: instantField,
  live: z
    .string()
    .max(1_000_000)
    .regex(/^([0-9a-z]{1,11}( [0-9a-z]{1,11})*)?$/),
})
export type HeadRecord = Readonly<z.output<typeof headSchema>>

/** Who holds what of the subnet: the contended part of the environment. */
export interface Holding {
  readonly blocks: ReadonlyMap<Cidr, Claim>
  readonly pins: ReadonlyMap<Ipv4, Claim>
}

export type Decoded<T> =
  | { readonly is: 'ok'; readonly value: T }
  | { readonly is: 'bad'; readonly why: string }

/** Reads a JSON text by a schema; never throws. */
export function decodeRecord<T>(schema: z.ZodType<T>, text: string): Decoded<T> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return { is: 'bad', why: 'not JSON' }
  }
  const result = schema.safeParse(json)
  if (result.success) return { is: 'ok', value: result.data }
  const [issue] = result.error.issues
  return { is: 'bad', why: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'does not fit'}` }
}

/** The JSON of a record: addresses as text, so that people can read the store. */
export function encodeRecord(record: object): string {
  return JSON.stringify(record, (key, value: unknown) =>
    typeof value === 'number' && (key === 'address' || key === 'managed') ? ipv4Text(value) : value,
  )
}

const ipv4Text = (value: number): string => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.')
