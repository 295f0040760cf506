/**
 * What the admin API offers of DNS: why a name gets its answer, and the questions of one container as they come.
 */
import type { Dns } from '../dns/dns.ts'
import { DroverError } from '../model/errors.ts'
import { formatIpv4 } from '../model/ip.ts'

/** One question, as `drover dns log` shows it. */
export interface AskedView {
  /** ISO 8601. */
  readonly at: string
  readonly from: string
  readonly name: string
  readonly type: string
  readonly transport: 'udp' | 'tcp'
  readonly result: string
  readonly rcode: string
  readonly answers: readonly string[]
  /** Milliseconds. */
  readonly took: number
  /** Questions before this one that were not written down, because they came too fast. */
  readonly missed: number
}

export const dnsActions = (dns: () => Dns | undefined) => ({
  explain: (name: string, from: string | undefined) => dns()?.explain(name, from),
  streams: {
    'dns/log': (
      { container = '' }: Readonly<Record<string, string>>,
      push: (value: AskedView) => void,
    ): (() => void) => {
      const served = dns()
      if (served === undefined) throw new DroverError('STORE_UNAVAILABLE', 'the daemon is still starting')
      return served.follow(container, ({ at, from, ...asked }) =>
        push({ ...asked, at: new Date(at).toISOString(), from: formatIpv4(from) }),
      )
    },
  },
})
