/**
 * Why a peer has no SA, from what charon logs while this host calls it: one error per peer, with its way out. Sans IO.
 * Only calls of our own count: whom a call from outside is for shows when its caller has proved who he is.
 */
import { DroverError, type ErrorCode } from '../../model/errors.ts'
import type { Clock } from '../../model/ports.ts'
import type { HostId } from '../../model/records.ts'
import { isSection, type ViciSection } from './vici-message.ts'

/** The events that it hears. */
export const faultEvents = ['log', 'child-updown'] as const

interface Sign {
  readonly pattern: RegExp
  readonly code: ErrorCode
}

/** What charon says (5.9.8), the more telling first: of one call the first in this order counts. */
const signs: readonly Sign[] = [
  { pattern: /^(?:subject|issuer) certificate invalid \(valid from .* to .*\)$/, code: 'IPSEC_EXPIRED' },
  { pattern: /^no private key found for /, code: 'IPSEC_KEY' },
  { pattern: /^no trusted .* public key found for /, code: 'IPSEC_UNTRUSTED' },
  { pattern: /^unable to add SAD entry|^unable to install .*IPsec SA/, code: 'IPSEC_ESP' },
  { pattern: /NO_PROPOSAL_CHOSEN|^received proposals unacceptable/, code: 'IPSEC_PROPOSAL' },
  { pattern: /INVALID_KE_PAYLOAD/, code: 'IPSEC_PROPOSAL' },
  { pattern: /TS_UNACCEPTABLE/, code: 'IPSEC_SELECTORS' },
  { pattern: /^received AUTHENTICATION_FAILED/, code: 'IPSEC_REJECTED' },
  { pattern: /^giving up after \d+ retransmits/, code: 'IPSEC_SILENT' },
]

interface Call {
  readonly host: HostId
  rank: number
}

/** Calls that are remembered, so that a charon that never says how they end fills no memory. */
const mostCalls = 4096

export class FaultReader {
  readonly #clock: Pick<Clock, 'now'>
  /** By charon's number of the IKE SA. */
  readonly #calls = new Map<string, Call>()
  readonly #faults = new Map<HostId, DroverError>()

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  hear(event: string, message: ViciSection): void {
    if (event === 'child-updown') this.#up(message)
    else if (typeof message.msg === 'string') this.#read(message.msg, String(message['ikesa-uniqueid'] ?? ''))
  }

  /** The peer is none any more. */
  forget(host: HostId): void {
    this.#faults.delete(host)
  }

  /** One per peer of these; `fields.peer` says whose. */
  problems(peers: ReadonlyMap<HostId, unknown>): readonly DroverError[] {
    return [...this.#faults].filter(([host]) => peers.has(host)).map(([, fault]) => fault)
  }

  #up(message: ViciSection): void {
    if (message.up !== 'yes') return
    for (const [name, value] of Object.entries(message))
      if (isSection(value)) this.#faults.delete(name as HostId)
  }

  #read(text: string, id: string): void {
    const [, host, number] = /^initiating IKE_SA (\S+)\[(\d+)\]/.exec(text) ?? []
    if (host !== undefined && number !== undefined) this.#began(host as HostId, number)
    const call = this.#calls.get(id)
    if (call === undefined) return
    const rank = signs.findIndex(({ pattern }) => pattern.test(text))
    const sign = signs[rank]
    if (sign === undefined || rank >= call.rank) return
    call.rank = rank
    this.#faults.set(call.host, this.#faultOf(sign.code, text, call.host))
  }

  #began(host: HostId, id: string): void {
    this.#calls.set(id, { host, rank: signs.length })
    const [oldest] = this.#calls.keys()
    if (this.#calls.size > mostCalls && oldest !== undefined) this.#calls.delete(oldest)
  }

  #faultOf(code: ErrorCode, text: string, peer: HostId): DroverError {
    const [, from, to] = /valid from (.*) to (.*)\)$/.exec(text) ?? []
    const here = this.#clock.now()
    if (from !== undefined && here < Date.parse(from))
      return new DroverError('IPSEC_CLOCK', `${text}, and here it is ${timeText(here)}`, { fields: { peer } })
    const detail = to === undefined ? text : `${text}, and here it is ${timeText(here)}`
    return new DroverError(code, detail, { fields: { peer } })
  }
}

const timeText = (at: number): string => new Date(at).toISOString()
