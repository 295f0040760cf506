/**
 * Requests of the plainest kind, read out of one packet: GET, HTTP/1.1, no body, and only headers that say what the
 * client is and takes. Whatever is not understood to the last byte is no simple request. Pure.
 */
export interface Simple {
  readonly target: string
  readonly accept: string | undefined
}

/** Bytes that a simple request has at most. */
export const longestSimple = 1024

const requestLine = /^GET (\/[!-~]*) HTTP\/1\.1$/
const field = /^([A-Za-z-]+): ?([!-~]+(?: [!-~]+)*)$/
/** Headers that change nothing here; `host` and `accept` are looked at. */
const harmless: ReadonlySet<string> = new Set([
  'host',
  'accept',
  'user-agent',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'pragma',
])

function simpleOf(text: string): Simple | undefined {
  if (!text.endsWith('\r\n\r\n')) return undefined
  const [first = '', ...lines] = text.slice(0, -4).split('\r\n')
  const target = requestLine.exec(first)?.[1]
  if (target === undefined) return undefined
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, given = '', value = ''] = field.exec(line) ?? []
    const name = given.toLowerCase()
    const keeps = name === 'connection' && value.toLowerCase() === 'keep-alive'
    if ((!keeps && !harmless.has(name)) || headers.has(name)) return undefined
    headers.set(name, value)
  }
  return headers.has('host') ? { target, accept: headers.get('accept') } : undefined
}

/** Programs ask with the same words again and again: each text is read once. */
export class SimpleRequests {
  readonly #known = new Map<string, Simple>()

  /** `text` is all that has come, byte for character. */
  read(text: string): Simple | undefined {
    const known = this.#known.get(text)
    if (known !== undefined) return known
    const simple = simpleOf(text)
    if (simple === undefined) return undefined
    if (this.#known.size >= mostKnown) this.#known.clear()
    this.#known.set(text, simple)
    return simple
  }
}

const mostKnown = 2000
