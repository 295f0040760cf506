/**
 * What the DNS thread reports, as metrics and lines of the log. Pure.
 */
import type { Log, Meter } from '../model/ports.ts'
import { noResults, results } from './answers/results.ts'
import type { Report } from './link.ts'

/** Of a thread that has said nothing yet. */
export const silence: Report = {
  revision: undefined,
  names: 0,
  results: noResults(),
  cached: 0,
  upstreams: [],
}

/** What is new since the report before, of the same thread. */
export function tellReport(
  { log, meter }: { readonly log: Log; readonly meter: Meter },
  report: Report,
  before: Report,
): void {
  count(meter, report, before)
  for (const { address, port, loops } of report.upstreams) {
    const known = before.upstreams.find((one) => one.address === address && one.port === port)
    if (loops && known?.loops !== true)
      log.warn('an upstream resolver forwards to us and is not asked', { upstreams: [`${address}:${port}`] })
  }
}

export function tellUpstreams(log: Log, addresses: readonly string[]): void {
  if (addresses.length === 0) log.warn('no upstream resolver is known: only local names are answered')
  else log.info('upstream resolvers', { upstreams: addresses })
}

function count(meter: Meter, report: Report, before: Report): void {
  for (const result of results) {
    const more = report.results[result] - before.results[result]
    if (more > 0) meter.count('drover_dns_questions_total', more, { result })
  }
  meter.gauge('drover_dns_names', report.names)
  meter.gauge('drover_dns_cache_entries', report.cached)
  for (const { address, port, up, rtt } of report.upstreams) {
    const upstream = `${address}:${port}`
    meter.gauge('drover_dns_upstream_up', up ? 1 : 0, { upstream })
    meter.gauge('drover_dns_upstream_seconds', rtt / 1000, { upstream })
  }
}
