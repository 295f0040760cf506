/**
 * What the DNS thread answers where the zone alone cannot tell, asked of it on behalf of somebody: for
 * `drover dns explain`.
 */
import type { Ipv4 } from '../model/ip.ts'
import { answersInWords, inquiriesFor } from './answers/inquiry.ts'
import type { Name } from './codec/name.ts'
import type { ToWorker } from './link.ts'

export class Inquiries {
  readonly #tell: (message: ToWorker) => void
  readonly #open = new Map<number, (answers: readonly Uint8Array[] | undefined) => void>()
  #last = 0

  constructor(tell: (message: ToWorker) => void) {
    this.#tell = tell
  }

  /** What `from` gets for a name, one line for each record; a line that says why where that cannot be known now. */
  async answers(name: Name, from: Ipv4): Promise<readonly string[]> {
    const questions = inquiriesFor(name)
    const id = ++this.#last
    const answers = await new Promise<readonly Uint8Array[] | undefined>((resolve) => {
      this.#open.set(id, resolve)
      this.#tell({ is: 'ask', id, questions, from })
    })
    return answers === undefined
      ? ['nothing now: the DNS thread is being started again']
      : answersInWords(questions, answers)
  }

  hear(id: number, answers: readonly Uint8Array[]): void {
    this.#open.get(id)?.(answers)
    this.#open.delete(id)
  }

  /** The thread has ended: it says nothing any more. */
  end(): void {
    for (const settle of this.#open.values()) settle(undefined)
    this.#open.clear()
  }
}
