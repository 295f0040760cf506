/**
 * Takes secrets out of a text that leaves the machine: those that are known by value, and whatever looks like one.
 * Public keys, names and addresses stay. Pure.
 */
const mark = '(removed)'
/** Shorter ones would take ordinary words out. */
const shortest = 6

const privateKeys = /-----BEGIN ([A-Z ]*)PRIVATE KEY-----[\s\S]*?(-----END \1PRIVATE KEY-----|$)/g
const tokens = /drover-token-[\w.~+/=-]+/g
const credentials = /([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi
/** `password: x`, `"privateKey": "x"`, `private_key=x`; what is quoted ends with its quote. */
const named =
  /((?:pass(?:word|phrase|wd)|secret|private[-_ ]?key|preshared[-_ ]?key|psk|api[-_]?key|authorization)"?\s*[:=]\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;}"']+)/gi

export function redacted(text: string, secrets: readonly string[]): string {
  const known = secrets
    .filter((secret) => secret.length >= shortest)
    .sort((one, other) => other.length - one.length)
  return known
    .reduce((rest, secret) => rest.replaceAll(secret, mark), text)
    .replace(privateKeys, mark)
    .replace(tokens, mark)
    .replace(credentials, `$1${mark}@`)
    .replace(named, (_, name: string, value: string) =>
      value === 'null' || value === '(hidden)' ? `${name}${value}` : `${name}${mark}`,
    )
}
