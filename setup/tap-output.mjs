/**
 * Reads tap's own stream as it comes: says when a test file ended, with everything it printed, and what the
 * summary counts. Pure; a stream without a summary counts as a failure.
 */

/**
 * @typedef {{ok: boolean, name: string, took: string, skipped: string | undefined, lines: string[]}} FileResult
 * @typedef {{passed: number, failed: number, skipped: number}} Counts
 */

const verdict = /^(not )?ok \d+ - (.*?)(?: # (?:time=(\S+)|SKIP ?(.*)))?(?: \{)?$/
const summary = /^# \{ total: \d+, (.*) \}$/

export class TapOutput {
  /** @type {Counts | undefined} */
  counts
  /** @type {string[]} */
  #lines = []
  /** @type {FileResult | undefined} */
  #last

  /**
   * A line of tap's standard output; the file that ended with it. A failed file is told at the next line
   * that does not belong to its diagnostics.
   * @param {string} line
   * @returns {FileResult | undefined}
   */
  read(line) {
    const found = verdict.exec(line)
    if (found !== null) {
      const ended = this.#flush()
      const [, not, name = '', took = '', skipped] = found
      this.#last = { ok: not === undefined, name, took, skipped, lines: this.#lines }
      this.#lines = []
      return ended
    }
    const counted = summary.exec(line)
    if (counted !== null) this.counts = countsOf(counted[1] ?? '')
    if (this.#last !== undefined && /^ {2}\S| {4}/.test(line)) {
      this.#last.lines.push(line)
      return undefined
    }
    this.#lines.push(line)
    return this.#flush()
  }

  /** The file whose end is still held back. */
  end() {
    return this.#flush()
  }

  #flush() {
    const last = this.#last
    this.#last = undefined
    return last
  }
}

/**
 * @param {string} text such as `pass: 3, fail: 1, skip: 2`
 * @returns {Counts}
 */
function countsOf(text) {
  const count = (/** @type {string} */ name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(text)?.[1] ?? 0)
  return { passed: count('pass'), failed: count('fail'), skipped: count('skip') + count('todo') }
}

/**
 * Of the lines of a failed file, those around what failed: subtests that passed are left out.
 * @param {string[]} lines
 */
export function failures(lines) {
  const kept = []
  for (const line of lines) {
    if (/^\s*(ok \d+|\d+\.\.\d+|# Subtest:|# time=|$)/.test(line)) continue
    kept.push(line)
  }
  return kept
}
