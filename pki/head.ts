/**
 * A host's head: which of its records live. Each record has a number of its own, the counter of its envelope, so
 * that a list of numbers says it all: bytes that were once true but are not in the newest list do not count.
 */
import { type Decoded, decodeRecord, type HeadRecord, headSchema } from '../model/records.ts'
import type { Instant } from '../model/time.ts'

export interface Head {
  readonly time: Instant
  readonly live: ReadonlySet<number>
}

/** Counters in ascending order as differences: a thousand of them take a few kilobytes. */
export function headRecordOf(host: HeadRecord['host'], live: Iterable<number>, now: Instant): HeadRecord {
  let last = 0
  const steps = [...new Set(live)]
    .sort((one, other) => one - other)
    .map((counter) => {
      const step = counter - last
      last = counter
      return step.toString(36)
    })
  return { host, time: now, live: steps.join(' ') }
}

export function openHead(body: string, host: HeadRecord['host']): Decoded<Head> {
  const decoded = decodeRecord(headSchema, body)
  if (decoded.is === 'bad') return decoded
  const { value } = decoded
  if (value.host !== host) return { is: 'bad', why: 'the head of another host' }
  let last = 0
  const live = new Set<number>()
  for (const step of value.live === '' ? [] : value.live.split(' ')) {
    last += Number.parseInt(step, 36)
    live.add(last)
  }
  return { is: 'ok', value: { time: value.time, live } }
}
