/**
 * Switches and limits of the kernel that packets of containers depend on. Pure.
 */
import { errorIn, type Finding, warningIn } from '../finding.ts'
import type { MachineFacts } from '../machine-facts.ts'

export const forwarding = ({ forwarding: switches }: Pick<MachineFacts, 'forwarding'>): readonly Finding[] =>
  [...switches]
    .filter(([, value]) => value !== '1')
    .map(([path, value]) =>
      errorIn(
        'network',
        `the kernel does not forward packets that come in here: ${path.replaceAll('/', '.')} is ${value}`,
        'find out what sets it (/etc/sysctl.d, a hardening script); Drover sets it again when it attaches or starts',
      ),
    )

/** Shares of the limit from which new connections may be refused. */
const nearlyFull = 0.9

export function connectionTracking({ tracking }: Pick<MachineFacts, 'tracking'>): readonly Finding[] {
  if (tracking === undefined || tracking.count < tracking.limit * nearlyFull) return []
  const { count, limit } = tracking
  return [
    (count >= limit ? errorIn : warningIn)(
      'network',
      `the kernel tracks ${count} connections and may track ${limit}: new ones are dropped beyond that`,
      `sysctl -w net.netfilter.nf_conntrack_max=${limit * 2}, and find out who opens so many`,
    ),
  ]
}
