/**
 * The handshake Noise_IKpsk2 (paper 5.4.2 to 5.4.5) as pure functions: states and messages go in, states and
 * messages come out. Randomness, indices and timestamps are arguments. Whatever does not authenticate is
 * undefined.
 */
import { utf8 } from '../../model/bytes.ts'
import { CONSTRUCTION, IDENTIFIER } from './constants.ts'
import { type Crypto, hash, kdf1, kdf2, kdf3 } from './crypto.ts'
import { encodeInitiation, encodeResponse, type Initiation, type Response } from './messages.ts'

export interface KeyPair {
  readonly privateKey: Uint8Array
  readonly publicKey: Uint8Array
}

/** What we know of the other side: its static key, the precomputed DH of both statics, and the preshared key. */
export interface Partner {
  readonly publicKey: Uint8Array
  /** Undefined where our key is missing or the partner's is of low order: then no handshake succeeds. */
  readonly sharedStatic: Uint8Array | undefined
  readonly presharedKey: Uint8Array
}

/** The initiator between its message and the answer. */
export interface Initiated {
  readonly index: number
  readonly ephemeral: KeyPair
  readonly chain: Uint8Array
  readonly hash: Uint8Array
}

/** The responder between static key and timestamp, and between the message and its answer. */
export interface Consumed {
  readonly remoteIndex: number
  readonly remoteEphemeral: Uint8Array
  readonly remoteStatic: Uint8Array
  readonly chain: Uint8Array
  readonly hash: Uint8Array
}

export interface TransportKeys {
  readonly send: Uint8Array
  readonly receive: Uint8Array
}

const nothing = new Uint8Array(0)
const initialChain = hash(utf8(CONSTRUCTION))
const initialHash = hash(initialChain, utf8(IDENTIFIER))

/** Paper 5.4.2, initiator. Undefined where the partner's key is of low order. */
export function createInitiation(
  crypto: Crypto,
  self: KeyPair,
  partner: Partner,
  fresh: { readonly ephemeral: Uint8Array; readonly index: number; readonly timestamp: Uint8Array },
): { readonly message: Uint8Array; readonly state: Initiated } | undefined {
  const ephemeral = { privateKey: fresh.ephemeral, publicKey: crypto.publicKey(fresh.ephemeral) }
  const secret = crypto.shared(ephemeral.privateKey, partner.publicKey)
  if (secret === undefined || partner.sharedStatic === undefined) return undefined
  const hashed = hash(hash(initialHash, partner.publicKey), ephemeral.publicKey)
  const [chain, staticKey] = kdf2(kdf1(initialChain, ephemeral.publicKey), secret)
  const sealedStatic = crypto.seal(staticKey, 0, self.publicKey, hashed)
  const afterStatic = hash(hashed, sealedStatic)
  const [lastChain, timeKey] = kdf2(chain, partner.sharedStatic)
  const sealedTimestamp = crypto.seal(timeKey, 0, fresh.timestamp, afterStatic)
  return {
    message: encodeInitiation({
      sender: fresh.index,
      ephemeral: ephemeral.publicKey,
      sealedStatic,
      sealedTimestamp,
    }),
    state: { index: fresh.index, ephemeral, chain: lastChain, hash: hash(afterStatic, sealedTimestamp) },
  }
}

/** Paper 5.4.2, responder, first half: who says it is. One DH, so strangers are cheap. */
export function consumeInitiation(crypto: Crypto, self: KeyPair, message: Initiation): Consumed | undefined {
  const secret = crypto.shared(self.privateKey, message.ephemeral)
  if (secret === undefined) return undefined
  const hashed = hash(hash(initialHash, self.publicKey), message.ephemeral)
  const [chain, staticKey] = kdf2(kdf1(initialChain, message.ephemeral), secret)
  const remoteStatic = crypto.open(staticKey, 0, message.sealedStatic, hashed)
  if (remoteStatic === undefined) return undefined
  return {
    remoteIndex: message.sender,
    remoteEphemeral: message.ephemeral.slice(),
    remoteStatic,
    chain,
    hash: hash(hashed, message.sealedStatic),
  }
}

/** Second half: that it is so, and when. */
export function consumeTimestamp(
  crypto: Crypto,
  partner: Partner,
  message: Initiation,
  consumed: Consumed,
): { readonly timestamp: Uint8Array; readonly state: Consumed } | undefined {
  if (partner.sharedStatic === undefined) return undefined
  const [chain, timeKey] = kdf2(consumed.chain, partner.sharedStatic)
  const timestamp = crypto.open(timeKey, 0, message.sealedTimestamp, consumed.hash)
  if (timestamp === undefined) return undefined
  return { timestamp, state: { ...consumed, chain, hash: hash(consumed.hash, message.sealedTimestamp) } }
}

/** Paper 5.4.3, responder. */
export function createResponse(
  crypto: Crypto,
  partner: Partner,
  state: Consumed,
  fresh: { readonly ephemeral: Uint8Array; readonly index: number },
): { readonly message: Uint8Array; readonly keys: TransportKeys } | undefined {
  const ephemeral = crypto.publicKey(fresh.ephemeral)
  const withEphemeral = crypto.shared(fresh.ephemeral, state.remoteEphemeral)
  const withStatic = crypto.shared(fresh.ephemeral, partner.publicKey)
  if (withEphemeral === undefined || withStatic === undefined) return undefined
  const chain = kdf1(kdf1(kdf1(state.chain, ephemeral), withEphemeral), withStatic)
  const [lastChain, mixed, key] = kdf3(chain, partner.presharedKey)
  const sealedNothing = crypto.seal(key, 0, nothing, hash(hash(state.hash, ephemeral), mixed))
  const [receive, send] = kdf2(lastChain, nothing)
  return {
    message: encodeResponse({
      sender: fresh.index,
      receiver: state.remoteIndex,
      ephemeral,
      sealedNothing,
    }),
    keys: { send, receive },
  }
}

/** Paper 5.4.3, initiator. */
export function consumeResponse(
  crypto: Crypto,
  self: KeyPair,
  partner: Partner,
  state: Initiated,
  message: Response,
): TransportKeys | undefined {
  const withEphemeral = crypto.shared(state.ephemeral.privateKey, message.ephemeral)
  const withStatic = crypto.shared(self.privateKey, message.ephemeral)
  if (withEphemeral === undefined || withStatic === undefined) return undefined
  const chain = kdf1(kdf1(kdf1(state.chain, message.ephemeral), withEphemeral), withStatic)
  const [lastChain, mixed, key] = kdf3(chain, partner.presharedKey)
  const data = hash(hash(state.hash, message.ephemeral), mixed)
  if (crypto.open(key, 0, message.sealedNothing, data) === undefined) return undefined
  const [send, receive] = kdf2(lastChain, nothing)
  return { send, receive }
}
