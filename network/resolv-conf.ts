/**
 * resolv.conf as text: our name server and search list on top, what they replace commented out so that it can
 * be put back byte for byte. Editing twice is editing once. Pure; resolv-file.ts does it to files.
 */
import { formatIpv4, type Ipv4 } from '../model/ip.ts'

export interface ResolvWish {
  readonly nameserver: Ipv4
  /** Ours, most specific first. */
  readonly search: readonly string[]
  /** Where ours stand among those that are there; `none`: only the last of ours, the environment's domain. */
  readonly priority: 'first' | 'last' | 'none'
}

const begin = '# drover: from here'
const end = '# drover: to here; the lines it replaces are kept below'
const kept = '# drover: was '

/** `<service>.<stack>.<domain> <stack>.<domain> <domain>`, as far as the container has them. */
export function searchOf(
  names: { readonly stack: string | null; readonly service: string | null },
  domain: string,
): readonly string[] {
  const { stack, service } = names
  if (stack === null) return [domain]
  const within = [`${stack}.${domain}`, domain]
  return service === null ? within : [`${service}.${stack}.${domain}`, ...within]
}

export function editedResolvConf(text: string, wish: ResolvWish): string {
  const original = restoredResolvConf(text)
  const lines = original.split('\n')
  const search = searchLine(lines, wish)
  const rest = lines.map((line) => (isReplaced(line) ? `${kept}${line}` : line))
  return [begin, `nameserver ${formatIpv4(wish.nameserver)}`, ...search, end, ...rest].join('\n')
}

/** What the text was before it was edited; the text itself if it never was. */
export function restoredResolvConf(text: string): string {
  const lines = text.split('\n')
  const from = lines.indexOf(begin)
  const to = lines.indexOf(end, from)
  if (from < 0 || to < 0) return text
  return [...lines.slice(0, from), ...lines.slice(to + 1)]
    .map((line) => (line.startsWith(kept) ? line.slice(kept.length) : line))
    .join('\n')
}

const isReplaced = (line: string): boolean => /^\s*(nameserver|search|domain)\s/.test(line)

/** The last `search` or `domain` counts, as in resolv.conf(5); a lone dot means none. */
function searchLine(lines: readonly string[], wish: ResolvWish): readonly string[] {
  const last = lines.findLast((line) => /^\s*(search|domain)\s/.test(line)) ?? ''
  const there = last
    .trim()
    .split(/\s+/)
    .slice(1)
    .filter((name) => name !== '.')
  const ours = wish.priority === 'none' ? wish.search.slice(-1) : wish.search
  const all = wish.priority === 'last' ? [...there, ...ours] : [...ours, ...there]
  return all.length === 0 ? [] : [`search ${[...new Set(all)].join(' ')}`]
}
