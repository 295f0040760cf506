/**
 * Content negotiation as the original did it (gddo's NegotiateContentType, rancher.md 1.5): media types are
 * compared with regard to case, `q=0` is ignored, text where nothing matches.
 */
export type Format = 'text' | 'json' | 'yaml'

const offers: readonly (readonly [string, Format])[] = [
  ['text/plain', 'text'],
  ['application/json', 'json'],
  ['application/yaml', 'yaml'],
  ['application/x-yaml', 'yaml'],
  ['text/yaml', 'yaml'],
  ['text/x-yaml', 'yaml'],
]

interface Wanted {
  readonly type: string
  readonly quality: number
}

function wantedOf(accept: string): readonly Wanted[] {
  return accept.split(',').flatMap((part) => {
    const [type = '', ...parameters] = part.split(';').map((piece) => piece.trim())
    const q = parameters.find((parameter) => /^q=/i.test(parameter))
    const quality = q === undefined ? 1 : Number(q.slice(2))
    return type === '' || !(quality > 0) ? [] : [{ type, quality }]
  })
}

/** How exactly a wanted type names an offer: 0 exactly, 1 `type/*`, 2 `*\/*`; undefined when it does not. */
function wildness(wanted: string, offer: string): number | undefined {
  if (wanted === '*/*') return 2
  if (wanted.endsWith('/*')) return offer.startsWith(wanted.slice(0, -1)) ? 1 : undefined
  return wanted === offer ? 0 : undefined
}

export function formatOf(accept: string | undefined): Format {
  if (accept === undefined || accept === '*/*') return 'text'
  const all = wantedOf(accept)
  let best: { format: Format; quality: number; wild: number } = { format: 'text', quality: -1, wild: 3 }
  for (const [offer, format] of offers) {
    for (const { type, quality } of all) {
      const wild = wildness(type, offer)
      if (wild === undefined || quality < best.quality) continue
      if (quality > best.quality || best.wild > wild) best = { format, quality, wild }
    }
  }
  return best.format
}

/** Few clients say the same thing again and again: what they say is read once. */
export class Formats {
  readonly #known = new Map<string, Format>()

  of(accept: string | undefined): Format {
    if (accept === undefined) return 'text'
    const known = this.#known.get(accept)
    if (known !== undefined) return known
    const format = formatOf(accept)
    if (this.#known.size >= mostKnown) this.#known.clear()
    if (accept.length <= longestKnown) this.#known.set(accept, format)
    return format
  }
}

const mostKnown = 1000
const longestKnown = 256

/** Whether the client takes gzip (RFC 9110 12.5.3). */
export function acceptsGzip(encoding: string | undefined): boolean {
  return encoding !== undefined && wantedOf(encoding).some(({ type }) => type === 'gzip' || type === '*')
}
