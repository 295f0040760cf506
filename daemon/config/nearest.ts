/**
 * The known name nearest to a mistyped one, by Levenshtein distance.
 */
/** Letters to change, add or leave out to come from one to the other. */
export function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at)
  for (let i = 1; i <= one.length; i++) {
    const next = [i]
    for (let j = 1; j <= other.length; j++) {
      const change = (row[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, change))
    }
    row = next
  }
  return row[other.length] ?? 0
}

/** Undefined only when `known` is empty. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const lastOf = (key: string): string => key.split('.').at(-1) ?? key
  const score = (key: string): number =>
    Math.min(distance(name, key), distance(lastOf(name), lastOf(key)) + 0.5)
  return [...known].sort((one, other) => score(one) - score(other))[0]
}
