/**
 * The constants of the protocol. "Paper" is the WireGuard whitepaper (Donenfeld, NDSS 2017, revised 2020).
 * Durations are milliseconds.
 */
export const CONSTRUCTION = 'Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s' // paper 5.4
export const IDENTIFIER = 'WireGuard v1 zx2c4 Jason@zx2c4.com' // paper 5.4
export const LABEL_MAC1 = 'mac1----' // paper 5.4
export const LABEL_COOKIE = 'cookie--' // paper 5.4

// Paper 6.1. Counters are JavaScript numbers, exact up to 2^53, so the two message limits of the paper
// (2^60 and 2^64 - 2^13 - 1) come down to that; at 10^7 packets a second it is 28 years away.
export const REJECT_AFTER_MESSAGES = Number.MAX_SAFE_INTEGER
export const REKEY_AFTER_MESSAGES = REJECT_AFTER_MESSAGES - 2 ** 32
export const REKEY_AFTER_TIME = 120_000
export const REJECT_AFTER_TIME = 180_000
export const REKEY_ATTEMPT_TIME = 90_000
export const REKEY_TIMEOUT = 5_000
export const KEEPALIVE_TIMEOUT = 10_000

export const MAX_JITTER = 333 // paper 6.1: retries are spread by up to a third of a second
export const ERASE_AFTER = 3 * REJECT_AFTER_TIME // paper 6.3
/** A session that is still received on is renewed by its initiator in time for an answer; paper 6.2. */
export const REKEY_ON_RECEIVE_AFTER = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT
export const COOKIE_LIFETIME = 120_000 // paper 5.4.7
/** A cookie is not used in the last seconds of its life, when it could expire on the way. */
export const COOKIE_LATENCY = 5_000
/** Of one peer, initiations closer together than this are dropped (the kernel's 50 a second). */
export const INITIATION_INTERVAL = 20

export const KEY_LENGTH = 32
