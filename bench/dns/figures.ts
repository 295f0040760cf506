/**
 * What is measured of each server in one round, and what must come of it.
 */

import type { Figures } from '../report.ts'
import type { Load, Outcome } from './load.ts'

export interface Questions {
  /** Files of dnsperf. */
  readonly local: string
  readonly external: string
}

/** Garbage for the server from now on; what comes back ends it and says how many datagrams a second they were. */
export type Flood = () => () => Promise<number>

export interface Figure {
  /** Answers in a round, by name. */
  measure(
    ask: (load: Load) => Promise<Outcome>,
    questions: Questions,
    seconds: number,
    flood: Flood,
  ): Promise<Readonly<Record<string, number>>>
}

const rush = { outstanding: 400, clients: 20 }

/** As much as goes: the answers that arrive, and the processor time of each. */
const local: Figure = {
  async measure(ask, { local: questions }, seconds) {
    await ask({ questions, seconds: 1, ...rush })
    const { rate, processor, failed } = await ask({ questions, seconds, ...rush })
    return {
      'local, answers/s': rate,
      'local, processor µs/answer': processor,
      'local, failed': failed,
    }
  },
}

/** At rates that every server holds. */
const latency: Figure = {
  async measure(ask, { local: questions }, seconds) {
    const { p50, p99, processor } = await ask({ questions, seconds, rate: 20_000, ...rush, each: true })
    return {
      'local at 20 k/s, median ms': p50,
      'local at 20 k/s, p99 ms': p99,
      'local at 20 k/s, processor µs/answer': processor,
    }
  },
}

const loss: Figure = {
  async measure(ask, { local: questions }, seconds) {
    const outcome = await ask({ questions, seconds, rate: 50_000, outstanding: 2000, clients: 100 })
    return { 'local at 50 k/s, answers/s': outcome.rate, 'local at 50 k/s, lost': outcome.lost }
  },
}

const streams: Figure = {
  async measure(ask, { local: questions }, seconds) {
    const { rate, processor } = await ask({
      questions,
      seconds,
      transport: 'tcp',
      outstanding: 400,
      clients: 20,
    })
    return { 'local over TCP, answers/s': rate, 'local over TCP, processor µs/answer': processor }
  },
}

/** The names are in every cache after the first second. */
const external: Figure = {
  async measure(ask, { external: questions }, seconds) {
    await ask({ questions, seconds: 1, rate: 5000, outstanding: 100, clients: 4 })
    const { rate, processor, failed } = await ask({ questions, seconds, ...rush })
    return {
      'cached, answers/s': rate,
      'cached, processor µs/answer': processor,
      'cached, failed': failed,
    }
  },
}

const besideGarbage = 'beside garbage, lost of 5 k/s, %'

/** 5,000 good questions a second, from another address than the garbage. */
const garbage: Figure = {
  async measure(ask, { local: questions }, seconds, flood) {
    const end = flood()
    try {
      const outcome = await ask({ questions, seconds, rate: 5000, outstanding: 2000, clients: 20 })
      return {
        'garbage, datagrams/s': await end(),
        [besideGarbage]: outcome.loss * 100,
      }
    } finally {
      await end()
    }
  },
}

export const figures: readonly Figure[] = [local, latency, loss, streams, external, garbage]

export interface Target {
  readonly what: string
  /** Of ours and of dnsmasq's figures. */
  readonly value: (ours: Figures, dnsmasq: Figures) => number
  readonly bound: number
  readonly most: boolean
}

const share = (figure: string, bound: number, most: boolean): Target => ({
  what: `${figure}: ours / dnsmasq`,
  value: (ours, other) => (ours[figure] ?? Number.NaN) / (other[figure] ?? Number.NaN),
  bound,
  most,
})

const own = (figure: string, bound: number, most: boolean): Target => ({
  what: figure,
  value: (ours) => ours[figure] ?? Number.NaN,
  bound,
  most,
})

export const targets: readonly Target[] = [
  share('local, answers/s', 1.5, false),
  share('local, processor µs/answer', 0.6, true),
  share('local at 20 k/s, p99 ms', 1, true),
  own('local at 50 k/s, lost', 0, true),
  own('local over TCP, answers/s', 20_000, false),
  share('cached, answers/s', 1, false),
  {
    what: `${besideGarbage}: less than 1 or than dnsmasq's`,
    value: (ours, other) => {
      const lost = ours[besideGarbage] ?? Number.NaN
      return Math.min(lost, lost / (other[besideGarbage] ?? Number.NaN) || lost)
    },
    bound: 1,
    most: true,
  },
]
