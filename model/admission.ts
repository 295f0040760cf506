/**
 * What is said when a machine enters an environment: the token's record in the store, the request of the machine
 * that joins, and the answer. Schemas for what comes from outside.
 */
import { z } from 'zod'
import { fromBase64 } from './bytes.ts'
import { hostIdField, settingsSchema } from './records.ts'
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
  authorities: z.array(pemField).min(1).max(8),
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
