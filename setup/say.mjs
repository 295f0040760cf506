/**
 * What the set-up prints: one clear line per problem on standard error, ends with exit code 2.
 * Plain JavaScript for any Node ≥ 18, like every .mjs file of this folder.
 */

/** @param {string} line */
export const say = (line) => void process.stdout.write(`${line}\n`)

/** @param {string} line */
export const complain = (line) => void process.stderr.write(`drover: ${line}\n`)

/**
 * Ends the process after telling what stands in the way.
 * @param {...string} lines
 * @returns {never}
 */
export function stop(...lines) {
  for (const line of lines) complain(line)
  process.exit(2)
}
