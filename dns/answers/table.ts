/**
 * Compiled answers: from the bytes of a question to the verdict with its finished records. One table per zone,
 * thrown away whole when a new zone comes; entries are made when they are first asked for, so that a new zone
 * costs nothing up front, however big it is.
 */

import { nameOf, type Query } from '../codec/message.ts'
import type { View, Zone } from '../zone/targets.ts'
import { everybody } from '../zone/views.ts'
import { type Verdict, verdictOf } from './authority.ts'
import type { SearchMode } from './search.ts'

/** Names that nobody has can be asked without end: a full view starts over. */
const maxEntries = 100_000

const nobody: View = { search: [], names: new Map(), upstreams: [] }

export class AnswerTable {
  readonly zone: Zone
  readonly #mode: SearchMode
  readonly #views = new Map<string, Map<string, Verdict>>()

  constructor(zone: Zone, mode: SearchMode) {
    this.zone = zone
    this.#mode = mode
  }

  verdict(query: Query, view: string): Verdict {
    const answers = this.#answersOf(view)
    const found = answers.get(query.key)
    if (found !== undefined) return found
    const verdict = verdictOf(
      this.zone,
      this.viewOf(view),
      { name: nameOf(query), type: query.type },
      this.#mode,
    )
    if (answers.size >= maxEntries) answers.clear()
    answers.set(query.key, verdict)
    return verdict
  }

  viewOf(key: string): View {
    return this.zone.views.get(key) ?? this.zone.views.get(everybody) ?? nobody
  }

  #answersOf(view: string): Map<string, Verdict> {
    const found = this.#views.get(view)
    if (found !== undefined) return found
    const answers = new Map<string, Verdict>()
    this.#views.set(view, answers)
    return answers
  }
}
