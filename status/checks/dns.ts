/**
 * Whether names that are not ours can be answered. Pure.
 */
import { errorIn, type Finding, warningIn } from '../finding.ts'

export interface Upstreams {
  /** Undefined while DNS does not run yet. */
  readonly upstreams:
    | readonly {
        readonly address: string
        readonly port: number
        readonly up: boolean
        /** It forwards to us. */
        readonly loops: boolean
      }[]
    | undefined
}

export function upstreamResolvers({ upstreams }: Upstreams): readonly Finding[] {
  if (upstreams === undefined) return []
  if (upstreams.length === 0)
    return [
      warningIn(
        'dns',
        'no upstream resolver is known: containers resolve only names of the environment',
        'set dns.upstreams, or name a resolver in the file of dns.resolvConf',
      ),
    ]
  const asked = upstreams.filter(({ loops }) => !loops)
  const dead = asked.filter(({ up }) => !up)
  const nobody = asked.length === dead.length
  return [
    ...upstreams
      .filter(({ loops }) => loops)
      .map((one) =>
        warningIn(
          'dns',
          `the upstream resolver ${placeOf(one)} forwards to this host and is not asked`,
          'take it out of dns.upstreams or resolv.conf, or let it ask somebody else',
        ),
      ),
    ...dead.map((one) =>
      (nobody ? errorIn : warningIn)(
        'dns',
        `the upstream resolver ${placeOf(one)} does not answer${nobody ? ', and there is no other' : ''}`,
        'check it and the way to it, or set dns.upstreams',
      ),
    ),
  ]
}

const placeOf = ({ address, port }: { readonly address: string; readonly port: number }): string =>
  `${address.includes(':') ? `[${address}]` : address}:${port}`
