/**
 * How long the environment's certificates last, and whether somebody still renews them. Pure; what is wrong with
 * this host's own certificate comes with the vitals.
 */
import type { Environment } from '../../model/environment.ts'
import { errorIn, type Finding, timeText, warningIn } from '../finding.ts'

export interface Lifetimes {
  readonly now: number
  readonly authorities: readonly { readonly fingerprint: string; readonly until: number }[]
  /** Certificates of the other hosts that are members. */
  readonly certificates: readonly {
    readonly host: string
    /** When the next one is due, and when this one ends: milliseconds since the epoch. */
    readonly due: number
    readonly until: number
  }[]
}

const hour = 3_600_000
const day = 24 * hour
/** A renewal that is later than this is missed. */
const patience = hour
/** Long enough to replace a CA without haste; a certificate of a host lasts a twelfth of it. */
const authorityNotice = 365 * day

export const authoritiesEnd = ({ authorities, now }: Lifetimes): readonly Finding[] =>
  authorities
    .filter(({ until }) => until - now < authorityNotice)
    .map(({ fingerprint, until }) => {
      const name = `the CA ${fingerprint.slice(0, 16)}`
      const remedy = 'docs/operations.md says how a CA is replaced; until then no certificate outlives it'
      return until <= now
        ? errorIn('trust', `${name} ended ${timeText(until)}: nothing that it signed counts`, remedy)
        : warningIn('trust', `${name} ends ${timeText(until)}`, remedy)
    })

/** One host that renews late is its own trouble; when all do, nobody who holds the key of the CA is at work. */
export function missedRenewals({ certificates, now }: Lifetimes): readonly Finding[] {
  const late = certificates.filter(({ due }) => now > due + patience)
  if (late.length === 0) return []
  const names = late.map(({ host }) => host).join(', ')
  const end = timeText(Math.min(...late.map(({ until }) => until)))
  const all = late.length === certificates.length
  return [
    errorIn(
      'trust',
      all
        ? `nobody renews certificates: those of ${names} are overdue, the first ends ${end}`
        : `the certificates of ${names} should have been renewed; the first ends ${end}`,
      all
        ? 'start the daemon on the host that holds the key of the CA (`drover ca show` there), or `drover ca import` a backup on another'
        : 'see whether their daemons run and reach the store',
    ),
  ]
}

/** Whether somebody could renew certificates now: hosts say in their records which CA's key they hold. */
export function authorityHolders({
  environment: { hosts, self },
  authorities,
}: Pick<Lifetimes, 'authorities'> & { readonly environment: Environment }): readonly Finding[] {
  const held = new Set(authorities.map(({ fingerprint }) => fingerprint))
  const holders = [...hosts.values()].filter(({ record }) => held.has(record.authority ?? ''))
  if (holders.some(({ record, present }) => present || record.id === self)) return []
  const names = holders.map(({ record }) => record.name).join(', ')
  return [
    warningIn(
      'trust',
      names === ''
        ? 'no host holds a usable key of the CA: nobody renews certificates, lets hosts in or removes them'
        : `${names}, which holds the key of the CA, is away: nobody renews certificates, lets hosts in or removes them`,
      'nothing stops until certificates end (30 days); bring it back, or `drover ca import` a backup on another host',
    ),
  ]
}
