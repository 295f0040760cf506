/**
 * Answers out of the zone, with authority: every type of an existing name is NODATA with SOA where there is no data
 * (RFC 2308 2.2), what does not exist is NXDOMAIN with SOA. What the zone cannot say gets a verdict that tells
 * whom to ask. Pure.
 */
import { type Ipv4, ipv6Bytes } from '../../model/ip.ts'
import { flags, type ResourceRecord, rcodes, types } from '../codec/message.ts'
import { isWithin, type Name, wireLabels } from '../codec/name.ts'
import { type Body, bodyOf, type Sections } from '../codec/writer.ts'
import { partTarget } from '../zone/parts.ts'
import { reverseOf } from '../zone/reverse.ts'
import { metadataName, type Target, type View, type Zone } from '../zone/targets.ts'
import { candidatesOf, type SearchMode, staysHere, turnOf } from './search.ts'

/** Containers come and go: nobody keeps their addresses longer than this. */
export const localTtl = 1 // seconds
const maxChain = 8

export interface Question {
  readonly name: Name
  readonly type: number
}

export type Local =
  /** `lasting` until its name changes, or one that a search list leads to; the serial is the newest all the same. */
  | { readonly is: 'answer'; readonly body: Body; readonly lasting: boolean }
  /** The chain of CNAMEs leaves our domain: `target` is asked of the upstreams. */
  | { readonly is: 'chase'; readonly chain: readonly ResourceRecord[]; readonly target: Name }

export type Verdict =
  | Local
  /** Ours unless Docker's networks know it: the upstreams are not asked. */
  | { readonly is: 'unknown'; readonly otherwise: Local }
  /** Not ours to answer, except with `fallback` when the world does not know the name. */
  | { readonly is: 'foreign'; readonly fallback: Local | undefined }

const authoritative = flags.AA | flags.RA

const answer = (question: Question, sections: Sections, lasting = true): Local => ({
  is: 'answer',
  body: bodyOf(question.name, { flags: authoritative, ...sections }),
  lasting,
})

/** RFC 8482 4.2: one small record instead of everything. */
const minimalAny = (question: Question, own: boolean): Local =>
  answer(question, {
    flags: own ? authoritative : flags.RA,
    answers: [
      {
        name: question.name,
        type: types.HINFO,
        ttl: localTtl,
        data: [Uint8Array.from([7, ...Buffer.from('RFC8482'), 0])],
      },
    ],
  })

/** What is to be said to a question by somebody who sees the zone through `view`. */
export function verdictOf(zone: Zone, view: View, question: Question, mode: SearchMode): Verdict {
  if (question.type === types.AXFR || question.type === types.IXFR)
    return answer(question, { flags: flags.RA, rcode: rcodes.REFUSED })
  if (isWithin(question.name, zone.domain)) return within(zone, view, question)
  const reversed = reverse(zone, question)
  if (reversed !== undefined) return reversed
  return searched(zone, view, question, mode)
}

function searched(zone: Zone, view: View, question: Question, mode: SearchMode): Verdict {
  const turn = turnOf(question.name, mode)
  const local = turn === 'none' ? undefined : firstLocal(zone, view, question)
  if (local !== undefined && turn === 'local') return local
  if (question.type === types.ANY) return minimalAny(question, false)
  if (staysHere(question.name, mode))
    return { is: 'unknown', otherwise: nothing(zone, question, { rcode: rcodes.NXDOMAIN }) }
  return { is: 'foreign', fallback: local }
}

/** The first name of the search list that stands for something. */
function firstLocal(zone: Zone, view: View, question: Question): Local | undefined {
  for (const candidate of candidatesOf(question.name, view.search)) {
    const found = foundAt(zone, view, candidate)
    if (found !== undefined && found.target.is !== 'branch') return stated(zone, view, question, found)
  }
  return undefined
}

interface Found {
  readonly target: Target
  /** Whether another name was followed to it. */
  readonly followed: boolean
}

function foundAt(zone: Zone, view: View, name: Name): Found | undefined {
  const found = view.names.get(name) ?? zone.names.get(name) ?? partTarget(zone.names, name)
  const target = found?.is === 'same' ? zone.names.get(found.name) : found
  return target === undefined ? undefined : { target, followed: target !== found }
}

function within(zone: Zone, view: View, question: Question): Local {
  if (question.name === zone.domain) return apex(zone, question)
  const found = foundAt(zone, view, question.name)
  return found === undefined
    ? nothing(zone, question, { rcode: rcodes.NXDOMAIN })
    : stated(zone, view, question, found)
}

function apex(zone: Zone, question: Question): Local {
  if (question.type === types.SOA) return answer(question, { answers: [soaOf(zone, zone.domain)] }, false)
  if (question.type === types.ANY) return minimalAny(question, true)
  if (question.type !== types.NS) return nothing(zone, question)
  const server = `${metadataName}.${zone.domain}`
  return answer(question, { answers: [{ name: zone.domain, type: types.NS, ttl: localTtl, data: [server] }] })
}

/** What a target says to a type; follows our own CNAMEs until they end, leave us or go in circles. */
function stated(zone: Zone, view: View, question: Question, start: Found): Local {
  if (question.type === types.ANY) return minimalAny(question, true)
  const chain: ResourceRecord[] = []
  let owner = question.name
  let target: Target | undefined = start.target
  while (target?.is === 'alias') {
    chain.push({ name: owner, type: types.CNAME, ttl: localTtl, data: [target.name] })
    if (question.type === types.CNAME) return answer(question, { answers: chain }, false)
    if (!isWithin(target.name, zone.domain)) return { is: 'chase', chain, target: target.name }
    if (chain.length > maxChain) return answer(question, { rcode: rcodes.SERVFAIL }, false)
    owner = target.name
    target = foundAt(zone, view, owner)?.target
  }
  const lasting = chain.length === 0 && !start.followed
  if (target === undefined)
    return nothing(zone, question, { rcode: rcodes.NXDOMAIN, answers: chain, lasting })
  const records = recordsOf(owner, question.type, target)
  return records.length === 0
    ? nothing(zone, question, { answers: chain, lasting })
    : answer(question, { answers: [...chain, ...records] }, lasting)
}

function recordsOf(name: Name, type: number, target: Target): readonly ResourceRecord[] {
  const record = (data: Uint8Array): ResourceRecord => ({ name, type, ttl: localTtl, data: [data] })
  if (target.is === 'servers' && type === types.SRV)
    return target.servers.map((server) => record(serverData(target.port, server)))
  if (target.is !== 'addresses') return []
  if (type === types.A) return target.four.map((address) => record(ipv4Bytes(address)))
  if (type === types.AAAA) return target.six.flatMap((text) => ipv6Bytes(text) ?? []).map(record)
  return []
}

/** RFC 2782: all alike; the name is never compressed. */
const serverData = (port: number, server: Name): Uint8Array => {
  const labels = wireLabels(server).flatMap((label) => [...label])
  return Uint8Array.from([0, 0, 0, 1, port >>> 8, port & 255, ...labels, 0])
}

export const ipv4Bytes = (address: Ipv4): Uint8Array =>
  Uint8Array.of(address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255)

function reverse(zone: Zone, question: Question): Local | undefined {
  const meaning = reverseOf(question.name, zone.subnet)
  if (meaning === undefined) return undefined
  const soa = soaOf(zone, meaning.apex)
  const negative = (rcode: number): Local => answer(question, { rcode, authority: [soa] })
  if (question.name === meaning.apex && question.type === types.SOA)
    return answer(question, { answers: [soa] }, false)
  if (meaning.is !== 'address') return negative(meaning.is === 'branch' ? rcodes.NOERROR : rcodes.NXDOMAIN)
  const name = zone.pointers.get(meaning.address)
  if (name === undefined) return negative(rcodes.NXDOMAIN)
  if (question.type === types.ANY) return minimalAny(question, true)
  if (question.type !== types.PTR) return negative(rcodes.NOERROR)
  return answer(question, {
    answers: [{ name: question.name, type: types.PTR, ttl: localTtl, data: [name] }],
  })
}

interface Negative {
  readonly rcode?: number
  readonly answers?: readonly ResourceRecord[]
  readonly lasting?: boolean
}

const nothing = (zone: Zone, question: Question, { lasting = true, ...sections }: Negative = {}): Local =>
  answer(question, { ...sections, authority: [soaOf(zone, zone.domain)] }, lasting)

/** The serial tells the store's revision. */
export function soaOf(zone: Zone, apexName: Name): ResourceRecord {
  const numbers = Buffer.alloc(20)
  for (const [at, value] of [zone.revision % 2 ** 32, 60, 10, 86400, localTtl].entries())
    numbers.writeUInt32BE(value, at * 4)
  return { name: apexName, type: types.SOA, ttl: localTtl, data: [zone.domain, zone.domain, numbers] }
}
