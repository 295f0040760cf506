/**
 * Lets so many things of one client go on at once and the others of that client wait in their order; clients do not
 * wait for each other. Pure.
 */
interface Queue {
  going: number
  readonly waiting: (() => void)[]
}

export class Turnstile {
  readonly #width: number
  readonly #queues = new Map<string, Queue>()

  constructor({ width }: { readonly width: number }) {
    this.#width = width
  }

  /** Clients with something under way. */
  get size(): number {
    return this.#queues.size
  }

  /** Calls `go` now or when it is its turn; what it is given must be called once, when it is over. */
  enter(client: string, go: (leave: () => void) => void): void {
    const queue = this.#queues.get(client) ?? { going: 0, waiting: [] }
    this.#queues.set(client, queue)
    const begin = (): void => {
      queue.going += 1
      go(() => this.#leave(client, queue))
    }
    if (queue.going < this.#width) begin()
    else queue.waiting.push(begin)
  }

  #leave(client: string, queue: Queue): void {
    queue.going -= 1
    const next = queue.waiting.shift()
    if (next !== undefined) next()
    else if (queue.going === 0) this.#queues.delete(client)
  }
}
