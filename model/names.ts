/**
 * Names as DNS sees them: labels of RFC 1035 2.3.1 with the underscore that Compose and Swarm use, lower case.
 */
const label = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/

/** The label for a name, lower-cased; undefined when no DNS label can carry it. */
export function dnsLabel(name: string): string | undefined {
  // Mostly it is lower case, and then no copy is made.
  if (label.test(name)) return name
  const lower = name.toLowerCase()
  return label.test(lower) ? lower : undefined
}

/** A name that is safe to print: control characters escaped, cut to `limit` characters. */
export function printable(name: string, limit = 80): string {
  const clean = name.replace(
    /[\x00-\x1f\x7f-\x9f]/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
  return clean.length > limit ? `${clean.slice(0, limit - 1)}…` : clean
}
