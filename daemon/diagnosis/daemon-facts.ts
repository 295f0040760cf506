/**
 * What only the running daemon knows, for `drover doctor`; gathered when somebody asks.
 */

import type { UpstreamStatus } from '../../dns/forwarding/upstreams.ts'
import { skippedNames } from '../../dns/zone/skipped.ts'
import type { Environment } from '../../model/environment.ts'
import type { HostId } from '../../model/records.ts'
import { readCertificate } from '../../pki/certificate.ts'
import { renewalOf } from '../../pki/trust.ts'
import type { Attempt } from '../../status/checks/attempts.ts'
import type { Lifetimes } from '../../status/checks/trust.ts'
import { type DaemonFacts, daemonChecks } from '../../status/doctor.ts'
import { type Finding, findingsOf } from '../../status/finding.ts'
import type { Vitals } from '../../status/vitals.ts'
import type { Control } from '../control.ts'
import type { PrometheusMeter } from '../meter.ts'
import type { Mended } from '../peers/host-network.ts'
import type { HeadTimes } from '../records/heads.ts'
import type { TrustParts } from '../trust/trust-parts.ts'

export interface FactSources {
  readonly environment: Environment
  readonly vitals: Vitals
  readonly control: Pick<Control, 'trust' | 'observer' | 'strangers'>
  readonly upstreams: readonly UpstreamStatus[] | undefined
  readonly meter: PrometheusMeter
  readonly mended: Mended
  readonly trust: TrustParts
}

export async function daemonFactsOf(sources: FactSources): Promise<DaemonFacts> {
  const { environment, vitals, control, upstreams, meter, mended, trust } = sources
  const { attempts, freshSince, headTimes } = control.observer
  const { self } = environment
  return {
    environment,
    vitals,
    now: vitals.now,
    writes: [...attempts, ...control.trust.attempts].map((one) => ({
      ...one,
      who: writerText(one.who, sources),
    })),
    joins: control.trust.door.attempts,
    ahead: aheadOf(headTimes, self),
    authorities: trust.keeper.trust.authorities.map(({ fingerprint, notAfter }) => ({
      fingerprint,
      until: notAfter,
    })),
    certificates: certificatesOf(environment),
    store: { since: freshSince, ownHead: headTimes.get(self)?.signed ?? null },
    restarts: await meter.counts('drover_worker_restarts_total', 'worker'),
    mended,
    upstreams,
    skipped: skippedNames(environment),
  }
}

/** What `GET /v1/doctor` answers. */
export const examined = (facts: DaemonFacts): { readonly findings: readonly Finding[] } => ({
  findings: findingsOf(daemonChecks, facts),
})

/** A head that was read from disk, or with everything else, says only that a clock is ahead: it may be old. */
function aheadOf(times: ReadonlyMap<HostId, HeadTimes>, self: HostId): ReadonlyMap<HostId, number> {
  const known = [...times].filter(
    ([id, { signed, seen, watched }]) => id !== self && (watched || signed > seen),
  )
  return new Map(known.map(([id, { signed, seen }]) => [id, signed - seen]))
}

/** Who signed it, as far as a signature by a key that nobody has verified says anything. */
function writerText(who: Attempt['who'], { environment, control, trust }: FactSources): string {
  if (who === '') return 'by nobody who signs'
  const member = environment.hosts.get(who as HostId)?.record.name
  if (member !== undefined) return `in the name of host ${member}`
  if (trust.keeper.trust.revoked.has(who)) return `by the removed host ${who}`
  const stranger = control.strangers.find(({ id }) => id === who)?.name
  return `by ${stranger === undefined ? who : `${stranger} (${who})`}, who is no member`
}

const certificatesOf = ({ hosts, self }: Environment): Lifetimes['certificates'] =>
  [...hosts.values()].flatMap(({ record: { id, name, certificate: pem } }) => {
    const certificate = id === self ? undefined : readCertificate(pem)
    return certificate === undefined
      ? []
      : [{ host: name, due: renewalOf(certificate), until: certificate.notAfter }]
  })
