/**
 * What keeps this process from ending by itself: handles of its event loop, with the addresses of sockets, and
 * requests that are under way. For the log line of a stop that does not come to its end.
 */

/** One handle, as Node's diagnostic report shows it. */
export interface Handle {
  /** libuv's word: `tcp`, `pipe`, `udp`, `timer`, `async` (a thread or a port to one), `process`, … */
  readonly type: string
  readonly is_active: boolean
  readonly is_referenced: boolean
  readonly localEndpoint?: Endpoint | null
  readonly remoteEndpoint?: Endpoint | null
}

/** A pipe has a path, or nothing. */
type Endpoint = string | { readonly host: string; readonly port: number }

/** One line each, the same ones counted: `tcp 192.0.2.7:40100 -> 192.0.2.1:2379`, `2 × timer`, `FSReqPromise`. */
export function holdersOf(handles: readonly Handle[], resources: readonly string[]): readonly string[] {
  const holding = handles.filter((handle) => handle.is_active && handle.is_referenced)
  const requests = resources.filter((name) => /Req/.test(name))
  const counts = new Map<string, number>()
  for (const words of [...holding.map(inWords), ...requests]) counts.set(words, (counts.get(words) ?? 0) + 1)
  return [...counts].map(([words, count]) => (count === 1 ? words : `${count} × ${words}`))
}

function inWords({ type, localEndpoint, remoteEndpoint }: Handle): string {
  const [local, remote] = [placeOf(localEndpoint), placeOf(remoteEndpoint)]
  if (local === '' && remote === '') return type
  return remote === '' ? `${type} ${local}` : `${type} ${local} -> ${remote}`
}

function placeOf(endpoint: Endpoint | null | undefined): string {
  if (endpoint === null || endpoint === undefined) return ''
  return typeof endpoint === 'string' ? endpoint : `${endpoint.host}:${endpoint.port}`
}

/** Those of this moment. */
export function loopHolders(): readonly string[] {
  // Without: names of all addresses, asked for in DNS while the process waits.
  const report = Object.assign(process.report, { excludeNetwork: true })
  const { libuv = [] } = report.getReport() as { readonly libuv?: readonly Handle[] }
  return holdersOf(libuv, process.getActiveResourcesInfo())
}
