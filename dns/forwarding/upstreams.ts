/**
 * The resolvers that we forward to and what is known of their health. Says in which order to ask them and how long
 * to wait for each before the next is asked as well; a dead one costs nobody anything once it is known. Pure.
 */
import { isIpAddress, isIpv6, parseIpv4 } from '../../model/ip.ts'
import { type Millis, millis, seconds } from '../../model/time.ts'

export interface Upstream {
  readonly address: string
  readonly port: number
}

const dnsPort = 53
const unmeasured = millis(50)
const leastPatience = 40
const mostPatience = 400
/** So many silences in a row and it is down. */
const silencesToDown = 2
const probeEvery = seconds(5)
const rounds = 3

/** `1.2.3.4`, `1.2.3.4:5353`, `::1`, `[::1]:53`; undefined for anything else. */
export function parseUpstream(text: string): Upstream | undefined {
  if (parseIpv4(text) !== undefined || isIpv6(text)) return { address: text, port: dnsPort }
  const match = /^(?:\[(?<six>[^\]]+)\]|(?<four>[0-9.]+)):(?<port>\d{1,5})$/.exec(text)
  const address = match?.groups?.six ?? match?.groups?.four ?? ''
  const port = Number(match?.groups?.port)
  return isIpAddress(address) && port > 0 && port < 65536 ? { address, port } : undefined
}

/** The `nameserver` lines of a resolv.conf (resolv.conf(5)). */
export function nameserversIn(resolvConf: string): readonly string[] {
  return resolvConf
    .split('\n')
    .flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? [])
    .filter(isIpAddress)
}

/** The stub of systemd-resolved: the upstreams behind it are in a file of its own. */
export const resolvedStub = '127.0.0.53'
export const resolvedConf = '/run/systemd/resolve/resolv.conf'

export interface UpstreamSources {
  /** From the configuration; when there are any, nothing else counts. */
  readonly configured: readonly string[]
  /** Text of the host's resolv.conf. */
  readonly resolvConf: string
  /** Text of systemd-resolved's file, empty where there is none. */
  readonly resolved: string
  /** Addresses that lead back to us. */
  readonly own: readonly string[]
  /** Where we answer there, beside the usual port. */
  readonly ownPort: number
}

/** Whom to forward to. May be nobody: a resolver that nobody chose is never asked. */
export function upstreamsOf({
  configured,
  resolvConf,
  resolved,
  own,
  ownPort,
}: UpstreamSources): readonly Upstream[] {
  const listed = nameserversIn(resolvConf)
  const behind = listed.includes(resolvedStub) ? nameserversIn(resolved) : []
  const host = behind.length > 0 ? [...behind, ...listed.filter((text) => text !== resolvedStub)] : listed
  const chosen = configured.length > 0 ? configured : host
  return [...new Set(chosen)]
    .flatMap((text) => parseUpstream(text) ?? [])
    .filter(({ address, port }) => !own.includes(address) || (port !== dnsPort && port !== ownPort))
}

/** One question to one upstream, this long after the one before it. */
export interface Attempt {
  readonly upstream: Upstream
  readonly after: Millis
}

export interface Plan {
  readonly attempts: readonly Attempt[]
  /** To be asked besides, to learn whether they answer: nobody waits for them. */
  readonly probes: readonly Upstream[]
}

interface Health {
  readonly upstream: Upstream
  /** Smoothed round trip. */
  rtt: number
  measured: boolean
  silences: number
  probeAt: number
  /** It choked on EDNS. */
  plain: boolean
  /** It does not give the letters of a question back as they were. */
  careless: boolean
  /** It forwards to us. */
  loops: boolean
}

export interface UpstreamStatus extends Upstream {
  readonly up: boolean
  /** It forwards to us and is not asked. */
  readonly loops: boolean
  readonly rtt: Millis
}

export class Upstreams {
  #all: readonly Health[] = []

  /** What is known of those that stay is kept. */
  use(list: readonly Upstream[]): void {
    this.#all = list.map((upstream) => this.#find(upstream) ?? fresh(upstream))
  }

  /** Whether an answer can be hoped for without waiting for the dead. */
  hopeful(): boolean {
    return this.#all.some(isUp)
  }

  /** Some rounds, the quickest first; ailing ones are asked beside it now and then. */
  plan(now: Millis): Plan {
    const up = this.#all
      .filter(isUp)
      .sort((one, other) => one.silences - other.silences || one.rtt - other.rtt)
    const order = up.length > 0 ? up : this.#all.filter(({ loops }) => !loops)
    const attempts: Attempt[] = []
    for (let round = 0; round < rounds; round++) {
      for (const [index, { upstream }] of order.entries()) {
        const before = order[(index + order.length - 1) % order.length]
        const first = round === 0 && index === 0
        attempts.push({ upstream, after: first ? millis(0) : patienceFor(before, order.length, round) })
      }
    }
    return { attempts, probes: this.#probes(order[0], now) }
  }

  /** Those that were silent lately and are not asked first anyway. */
  #probes(first: Health | undefined, now: Millis): readonly Upstream[] {
    const due = this.#all.filter(
      (health) => health !== first && !health.loops && health.silences > 0 && now >= health.probeAt,
    )
    for (const health of due) health.probeAt = now + probeEvery
    return due.map(({ upstream }) => upstream)
  }

  answered(upstream: Upstream, took: Millis): void {
    const health = this.#find(upstream)
    if (health === undefined) return
    health.rtt = health.measured && isUp(health) ? health.rtt * 0.8 + took * 0.2 : took
    health.measured = true
    health.silences = 0
  }

  silent(upstream: Upstream, now: Millis): void {
    const health = this.#find(upstream)
    if (health === undefined) return
    health.silences += 1
    health.probeAt = health.silences < silencesToDown ? now : now + probeEvery
  }

  chokedOnEdns(upstream: Upstream): void {
    const health = this.#find(upstream)
    if (health !== undefined) health.plain = true
  }

  takesEdns(upstream: Upstream): boolean {
    return this.#find(upstream)?.plain !== true
  }

  leadsBack(upstream: Upstream): void {
    const health = this.#find(upstream)
    if (health !== undefined) health.loops = true
  }

  changedCase(upstream: Upstream): void {
    const health = this.#find(upstream)
    if (health !== undefined) health.careless = true
  }

  keepsCase(upstream: Upstream): boolean {
    return this.#find(upstream)?.careless !== true
  }

  status(): readonly UpstreamStatus[] {
    return this.#all.map((health) => ({
      ...health.upstream,
      up: isUp(health),
      loops: health.loops,
      rtt: millis(health.rtt),
    }))
  }

  #find({ address, port }: Upstream): Health | undefined {
    return this.#all.find(({ upstream }) => upstream.address === address && upstream.port === port)
  }
}

const fresh = (upstream: Upstream): Health => ({
  upstream,
  rtt: unmeasured,
  measured: false,
  silences: 0,
  probeAt: 0,
  plain: false,
  careless: false,
  loops: false,
})

const isUp = ({ silences, loops }: Health): boolean => !loops && silences < silencesToDown

/** With nobody else to ask there is only repeating, for a datagram that was lost: not too eagerly. */
function patienceFor(before: Health | undefined, choices: number, round: number): Millis {
  const wait = Math.min(Math.max((before?.rtt ?? unmeasured) * 3, leastPatience), mostPatience)
  return millis(choices === 1 ? Math.max(wait, 300) * (round + 1) : wait * (round + 1))
}
