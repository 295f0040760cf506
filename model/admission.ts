/**
 * What is said when a machine enters an environment: the token's record in the store, the request of the machine
 * that joins, and the answer; and when a host is given the key of the CA. Schemas for what comes from outside.
 */
import { z } from 'zod'
import { fromBase64 } from './bytes.ts'
import { type HostId, hostIdField, settingsSchema } from './records.ts'
import type { Instant } from './time.ts'

const instantField = z
  .number()
  .nonnegative()
  .transform((value) => value as Instant)
const pemField = z.string().max(8192)

/** A token as it stands in the store: the secret itself is nowhere but in the operator's hands. */
export const tokenSchema = z.object({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  /** SHA-256 of the secret, in hex. */
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  createdAt: instantField,
  expiresAt: instantField,
  uses: z.number().int().min(1).max(1000),
  /** Hosts that came in with it. */
  usedBy: z.array(hostIdField).max(1000),
})
export type TokenRecord = Readonly<z.output<typeof tokenSchema>>

export const joinRequestSchema = z.object({
  token: z.string().max(64),
  secret: z.string().max(64),
  /** For the log of the host that lets it in. */
  name: z.string().max(256),
  /** Ed25519, base64. */
  signingKey: z.string().refine((text) => fromBase64(text, 32) !== undefined, 'not 32 bytes of base64'),
  /** The key's signature over `joinProof`. */
  proof: z.string().refine((text) => fromBase64(text, 64) !== undefined, 'not 64 bytes of base64'),
})
export type JoinRequest = Readonly<z.output<typeof joinRequestSchema>>

export const joinAnswerSchema = z.object({
  certificate: pemField,
  /** Newest first. */
  authorities: z.array(pemField).min(1).max(8),
  /** The newest one as the one before it vouches for it; null when there is one only. */
  cross: pemField.nullable().default(null),
  revoked: z.array(hostIdField),
  listed: z.number().int().min(0),
  settings: settingsSchema,
  store: z.object({
    url: z.string().max(1024),
    user: z.string().nullable(),
    password: z.string().nullable(),
    ca: z.string().max(65_536).nullable(),
  }),
})
export type JoinAnswer = Readonly<z.output<typeof joinAnswerSchema>>

/** What the machine signs to show that it holds the key. */
export const joinProof = (token: string, authority: string): string => `drover join 1\n${token}\n${authority}`

const nonceField = z.string().regex(/^[0-9a-f]{32}$/)
const keyField = z.string().refine((text) => fromBase64(text, 32) !== undefined, 'not 32 bytes of base64')

/** What two hosts say to each other, under one key of the store, while one gives the key of the CA to the other. */
export const promotionSchema = z.discriminatedUnion('is', [
  /** The holder: will you take it? `nonce` names this one attempt. */
  z.object({ is: z.literal('asked'), nonce: nonceField }),
  /** The other: seal it for this key. */
  z.object({ is: z.literal('ready'), nonce: nonceField, key: keyField }),
  /** The holder: here it is. */
  z.object({ is: z.literal('given'), nonce: nonceField, key: keyField, box: z.string().max(65_536) }),
  /** The other: it is on my disk. */
  z.object({ is: z.literal('held'), nonce: nonceField }),
  z.object({ is: z.literal('failed'), nonce: nonceField, why: z.string().max(4096) }),
])
export type PromotionStep = Readonly<z.output<typeof promotionSchema>>

/** What binds the box to the two hosts and the attempt. */
export const promotionContext = (giver: HostId, taker: HostId, nonce: string): string =>
  `drover promotion 1\n${giver}\n${taker}\n${nonce}`
