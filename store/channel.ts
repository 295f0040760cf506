/**
 * The queue between a store and one reader of a watch. It never loses the newest state and does not grow
 * without bound when the reader is slow: a snapshot replaces what waits, and beyond a thousand waiting
 * changes only the last one of each key is kept.
 */
import type { Change, Update } from './store.ts'

const keepAll = 1000

export class Channel {
  readonly #waiting: Update[] = []
  #wake: (() => void) | undefined
  #ended = false

  push(update: Update): void {
    if (this.#ended) return
    if (update.is === 'snapshot') this.#waiting.length = 0
    this.#waiting.push(merged(this.#waiting, update))
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  /** What was pushed, in order, until `end`; what waits at the end is dropped. */
  async *updates(): AsyncGenerator<Update, void, undefined> {
    while (!this.#ended) {
      const next = this.#waiting.shift()
      if (next !== undefined) yield next
      else await this.#pushed()
    }
  }

  #pushed(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

/** The update to append; takes back the waiting one that it absorbs. */
function merged(waiting: Update[], update: Update): Update {
  const last = waiting.at(-1)
  if (last?.is !== 'events' || update.is !== 'events') return update
  if (last.changes.length + update.changes.length <= keepAll) return update
  waiting.pop()
  const newest = new Map<string, Change>()
  for (const change of [...last.changes, ...update.changes]) {
    const key = change.is === 'put' ? change.entry.key : change.key
    newest.delete(key)
    newest.set(key, change)
  }
  return { is: 'events', revision: update.revision, changes: [...newest.values()] }
}
