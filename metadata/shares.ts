/**
 * What each client has of something that nobody may have more of than so much. Pure.
 */
export class Shares {
  readonly #most: number
  readonly #taken = new Map<string, number>()

  constructor({ most }: { readonly most: number }) {
    this.#most = most
  }

  /** One more; false when the client has its share already. */
  take(client: string): boolean {
    const taken = this.#taken.get(client) ?? 0
    if (taken >= this.#most) return false
    this.#taken.set(client, taken + 1)
    return true
  }

  /** One that was taken is given back. */
  give(client: string): void {
    const left = (this.#taken.get(client) ?? 0) - 1
    if (left > 0) this.#taken.set(client, left)
    else this.#taken.delete(client)
  }
}
