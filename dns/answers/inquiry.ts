/**
 * The questions that a person's question about a name comes to, and their answers in words. Pure.
 */
import { type Data, headerLength, rcodes, readReply, readSection, types, u16 } from '../codec/message.ts'
import { isWithin, type Name } from '../codec/name.ts'
import { addressText, rcodeText, typeText } from '../codec/words.ts'
import { questionBytes, questionFor } from '../codec/writer.ts'
import { reverseRoot } from '../zone/reverse.ts'

const id = 0

/** Messages that ask for all that is usually asked of such a name. */
export function inquiriesFor(name: Name): readonly Uint8Array[] {
  const message = (type: number): Uint8Array =>
    questionFor(questionBytes(name, type), { id, checkingDisabled: false, secure: false })
  return typesOf(name).map(message)
}

function typesOf(name: Name): readonly number[] {
  if (isWithin(name, reverseRoot)) return [types.PTR]
  return name.startsWith('_') ? [types.SRV] : [types.A, types.AAAA]
}

/** `A 192.0.2.1`, `CNAME www.example.org`, each once; or, where there are none, `NXDOMAIN`, `NODATA`, `SERVFAIL`. */
export function answersInWords(
  questions: readonly Uint8Array[],
  answers: readonly Uint8Array[],
): readonly string[] {
  const replies = answers.map((answer, at) =>
    readReply(answer, { id, question: (questions[at] ?? new Uint8Array(0)).subarray(headerLength) }),
  )
  const records = replies.flatMap((reply) =>
    reply === undefined ? [] : (readSection(reply.bytes, reply.answers) ?? []),
  )
  const failures = replies.map((reply) => failureText(reply?.rcode ?? rcodes.FORMERR))
  const said = records.length > 0 ? records.map(({ type, data }) => recordText(type, data)) : failures
  return [...new Set(said)]
}

const failureText = (rcode: number): string => (rcode === rcodes.NOERROR ? 'NODATA' : rcodeText(rcode))

function recordText(type: number, data: Data): string {
  const [first = '', second = ''] = data
  if (typeof first === 'string') return `${typeText(type)} ${first}`
  if (type === types.SRV && typeof second === 'string')
    return `SRV ${[0, 2, 4].map((at) => u16(first, at)).join(' ')} ${second}`
  const address = addressText(type, first)
  return address === undefined ? typeText(type) : `${typeText(type)} ${address}`
}
