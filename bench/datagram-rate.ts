/**
 * Datagrams through a pair: what arrives when the sender knows no limit, and the highest rate that arrives whole
 * (less than one in a thousand lost), found by `rate-search.ts`. Sender and counter are `datagrams.ts`.
 */
import { join } from 'node:path'
import { node, root } from '../lab/layout.ts'
import type { NetnsWorld } from '../test/support/netns.ts'
import type { Counted, CountOrder, SendOrder, Sent } from './datagrams.ts'
import { LineProgram } from './line-program.ts'
import { highestPassing } from './rate-search.ts'
import type { Pair } from './tunnel-pair.ts'

export interface Trial {
  readonly counted: number
  /** Datagrams per second that were sent, and that arrived. */
  readonly offered: number
  readonly arrived: number
  /** Of what was sent, 0 to 1. */
  readonly lost: number
}

const tolerated = 0.001
const port = 9
const program = join(root, 'bench', 'datagrams.ts')
let runs = 0

export class DatagramRate {
  readonly #sender: LineProgram
  readonly #counter: LineProgram

  constructor(world: NetnsWorld, { one, two, target }: Pair) {
    this.#counter = new LineProgram(world.spawn(two, [node, program, 'count', String(port)]))
    this.#sender = new LineProgram(world.spawn(one, [node, program, 'send', target, String(port)]))
  }

  /** `rate` 0: without limit. */
  async trial(rate: number, size: number, millis: number): Promise<Trial> {
    const run = ++runs
    this.#counter.say({ run, patience: millis + 2000 } satisfies CountOrder)
    await this.#counter.next()
    this.#sender.say({ run, rate, millis, size } satisfies SendOrder)
    const sent = await this.#sender.next<Sent>()
    const { counted, millis: took } = await this.#counter.next<Counted>()
    return {
      counted,
      offered: (sent.sent / sent.millis) * 1000,
      arrived: counted === 0 ? 0 : (counted / took) * 1000,
      lost: 1 - counted / Math.max(1, sent.sent),
    }
  }

  /** The highest rate that arrives whole, of those that are not above `most`; 0 when none does. */
  lossless(size: number, millis: number, most: number): Promise<number> {
    return highestPassing(most, async (rate) => (await this.#passing(rate, size, millis))?.offered)
  }

  /** A rate has two tries: a single hiccup of the machine is not the tunnel's. */
  async #passing(rate: number, size: number, millis: number): Promise<Trial | undefined> {
    for (let attempt = 0; attempt < 2; attempt++) {
      const trial = await this.trial(rate, size, millis)
      if (trial.lost < tolerated) return trial
      if (trial.lost > 0.05) return undefined
    }
    return undefined
  }

  close(): void {
    this.#sender.close()
    this.#counter.close()
  }
}
