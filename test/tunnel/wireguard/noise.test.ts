/**
 * The handshake against a transcript that an independent implementation made (test/fixtures/wireguard.py), and
 * against every way of being wrong.
 */
import { test } from 'tap'
import { hex } from '../../../model/bytes.ts'
import { CookieGuard, CookieJar } from '../../../tunnel/wireguard/cookie.ts'
import { parseEndpoint } from '../../../tunnel/wireguard/endpoint.ts'
import { decodeHandshake, writeTransportHeader } from '../../../tunnel/wireguard/messages.ts'
import {
  consumeInitiation,
  consumeResponse,
  consumeTimestamp,
  createInitiation,
  createResponse,
  type KeyPair,
  type Partner,
} from '../../../tunnel/wireguard/noise.ts'
import { bytes, fixture, primitives } from '../../support/wireguard.ts'

const { crypto } = primitives
const golden = fixture.handshake
const field = (name: string): Uint8Array => bytes(String(golden[name]))

const pairOf = (name: string): KeyPair => ({
  privateKey: field(name),
  publicKey: crypto.publicKey(field(name)),
})
const initiator = pairOf('initiatorStatic')
const responder = pairOf('responderStatic')
const partnerOf = (self: KeyPair, other: KeyPair, presharedKey = field('presharedKey')): Partner => ({
  publicKey: other.publicKey,
  sharedStatic: crypto.shared(self.privateKey, other.publicKey),
  presharedKey,
})
const toResponder = partnerOf(initiator, responder)
const toInitiator = partnerOf(responder, initiator)

function begin() {
  const made = createInitiation(crypto, initiator, toResponder, {
    ephemeral: field('initiatorEphemeral'),
    index: golden.initiatorIndex,
    timestamp: field('timestamp'),
  })
  if (made === undefined) throw new TypeError('no initiation')
  new CookieJar(responder.publicKey).stamp(made.message, 0)
  return made
}

function answer(message: Uint8Array, partner = toInitiator, self = responder) {
  const initiation = decodeHandshake(message)
  if (initiation?.is !== 'initiation') return undefined
  const consumed = consumeInitiation(crypto, self, initiation)
  const opened = consumed && consumeTimestamp(crypto, partner, initiation, consumed)
  if (opened === undefined) return undefined
  const made = createResponse(crypto, partner, opened.state, {
    ephemeral: field('responderEphemeral'),
    index: golden.responderIndex,
  })
  if (made === undefined) return undefined
  new CookieJar(initiator.publicKey).stamp(made.message, 0)
  return { ...made, timestamp: opened.timestamp, remoteStatic: opened.state.remoteStatic }
}

test('the transcript of an independent implementation', async (t) => {
  const begun = begin()
  t.equal(hex(begun.message), golden.initiation)
  const answered = answer(begun.message)
  t.equal(hex(answered?.timestamp ?? new Uint8Array(0)), golden.timestamp)
  t.strictSame(answered?.remoteStatic, initiator.publicKey)
  t.equal(hex(answered?.message ?? new Uint8Array(0)), golden.response)
  const response = decodeHandshake(answered?.message ?? new Uint8Array(0))
  if (response?.is !== 'response') throw new TypeError('no response')
  const keys = consumeResponse(crypto, initiator, toResponder, begun.state, response)
  t.equal(hex(keys?.send ?? new Uint8Array(0)), golden.initiatorSends)
  t.equal(hex(keys?.receive ?? new Uint8Array(0)), golden.responderSends)
  t.strictSame(answered?.keys.send, keys?.receive)
  t.strictSame(answered?.keys.receive, keys?.send)

  const memory = new Uint8Array(100)
  memory.set(field('packet'), 16)
  writeTransportHeader(memory, 0, golden.responderIndex, 0, 0)
  const padded = Math.ceil(field('packet').length / 16) * 16
  primitives.aead.prepare(keys?.send ?? new Uint8Array(32)).seal(memory, 16, padded, 16, 0)
  t.equal(hex(memory.subarray(0, 32 + padded)), golden.transport)
})

test('every bit of what authenticates matters', async (t) => {
  const begun = begin()
  const answered = answer(begun.message)
  for (let at = 8; at < 116; at += 3) {
    const changed = begun.message.slice()
    changed[at] = (changed[at] ?? 0) ^ 0x40
    t.equal(answer(changed), undefined, `initiation byte ${at}`)
  }
  for (let at = 12; at < 60; at += 3) {
    const changed = answered?.message.slice() ?? new Uint8Array(0)
    changed[at] = (changed[at] ?? 0) ^ 0x40
    const response = decodeHandshake(changed)
    const keys =
      response?.is === 'response'
        ? consumeResponse(crypto, initiator, toResponder, begun.state, response)
        : 'not a response'
    t.equal(keys, undefined, `response byte ${at}`)
  }
})

test('another responder, a wrong preshared key and keys of low order come to nothing', async (t) => {
  const begun = begin()
  t.equal(answer(begun.message, toInitiator, pairOf('presharedKey')), undefined)
  const answered = answer(begun.message, partnerOf(responder, initiator, new Uint8Array(32)))
  const response = decodeHandshake(answered?.message ?? new Uint8Array(0))
  if (response?.is !== 'response') throw new TypeError('no response')
  t.equal(consumeResponse(crypto, initiator, toResponder, begun.state, response), undefined)
  const low = { ...toResponder, publicKey: new Uint8Array(32), sharedStatic: undefined }
  const fresh = { ephemeral: field('initiatorEphemeral'), index: 1, timestamp: field('timestamp') }
  t.equal(createInitiation(crypto, initiator, low, fresh), undefined)
})

test('cookies as an independent implementation makes them', async (t) => {
  const { cookie } = fixture
  const from = parseEndpoint(cookie.source)
  if (from === undefined) throw new TypeError('no endpoint')
  const drawn = [bytes(cookie.secret), bytes(cookie.secret), bytes(cookie.nonce)]
  const random = { bytes: (length: number) => drawn.shift() ?? new Uint8Array(length) }
  const guard = new CookieGuard({ crypto, random }, responder.publicKey)
  const jar = new CookieJar(responder.publicKey)
  const initiation = field('initiation')
  jar.stamp(initiation, 0)
  t.equal(hex(initiation), golden.initiation)
  t.equal(guard.mac1Fits(initiation), true)
  t.equal(guard.mac2Fits(initiation, from, 0), false)
  const reply = guard.reply(initiation, golden.initiatorIndex, from, 0)
  t.equal(hex(reply), cookie.reply)

  const decoded = decodeHandshake(reply)
  if (decoded?.is !== 'cookie-reply') throw new TypeError('no cookie reply')
  const forged = decodeHandshake(Uint8Array.from(reply, (byte, at) => (at === 40 ? byte ^ 1 : byte)))
  t.equal(forged?.is === 'cookie-reply' && jar.keep(crypto, forged, 5), false)
  t.equal(jar.keep(crypto, decoded, 5), true)
  t.equal(jar.keep(crypto, decoded, 6), false, 'a reply counts once')
  jar.stamp(initiation, 10)
  t.equal(hex(initiation), cookie.initiationWithMac2)
  t.equal(guard.mac2Fits(initiation, from, 119_999), true)
  const elsewhere = parseEndpoint('192.0.2.1:51821')
  t.equal(elsewhere && guard.mac2Fits(initiation, elsewhere, 20), false)
  t.equal(guard.mac2Fits(initiation, from, 120_000), false, 'the secret changes every two minutes')
  const later = field('initiation')
  jar.stamp(later, 115_005)
  t.equal(hex(later), golden.initiation, 'an old cookie is not used')
})
