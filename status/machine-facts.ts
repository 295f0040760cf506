/**
 * What the machine shows of this environment without asking the daemon. `daemon/diagnosis/machine-facts.ts` gathers it; what
 * could not be seen is undefined here and a finding of its own in `unseen`.
 */
import type { Cidr } from '../model/ip.ts'
import type { Finding, Problem } from './finding.ts'

export interface MachineFacts {
  /** Whether the daemon answers: then what is held is held by it. */
  readonly daemon: boolean
  /** What could not be looked at, and why. */
  readonly unseen: readonly Finding[]
  /** Programs that are on no PATH, with the Debian package that brings them. */
  readonly missing: readonly { readonly program: string; readonly package: string }[]
  /** Whether /dev/net/tun is there. */
  readonly tun: boolean
  /** Whether the kernel, not our process, runs WireGuard. */
  readonly kernelEngine: boolean
  readonly membership: Membership
  readonly folder: StateFolder | undefined
  readonly sockets: readonly HeldPort[]
  readonly docker: DockerRules | undefined
  readonly table: RuleTable | undefined
  readonly overlap: { readonly subnet: Cidr; readonly text: string } | undefined
  /** `net/ipv4/conf/dr12/forwarding` and the like that must be 1, with what they are. */
  readonly forwarding: ReadonlyMap<string, string>
  readonly tracking: { readonly count: number; readonly limit: number } | undefined
  /** /proc/net/xfrm_stat twice, about a second apart; empty where the kernel has none. */
  readonly xfrm: { readonly before: Counters; readonly after: Counters }
  readonly tunnelProcesses: readonly { readonly pid: number; readonly memory: number }[]
  /** What is in the way of IPsec, where kernel and packages have it and no daemon runs: a profile of AppArmor, a port. */
  readonly ipsec: Problem | undefined
}

export type Counters = ReadonlyMap<string, number>

export type Membership =
  | { readonly is: 'member'; readonly environment: string; readonly subnet: Cidr }
  | { readonly is: 'none'; readonly state: string }
  /** One line each, with its remedy. */
  | { readonly is: 'unusable'; readonly faults: readonly Problem[] }

export interface StateFolder {
  readonly path: string
  /** Files that others may read although they hold keys. */
  readonly open: readonly string[]
  /** MiB. */
  readonly free: number
}

/** A port that Drover wants. */
export interface HeldPort {
  readonly key: string
  readonly protocol: 'udp' | 'tcp'
  readonly port: number
  /** Who holds it, unless it is Drover; undefined while it is free or ours. */
  readonly holder: string | undefined
}

export interface DockerRules {
  /** The engine's answer; undefined where it does not answer. */
  readonly version: string | undefined
  readonly endpoint: string
  /** iptables that hold a filter table: `iptables-nft`, `iptables-legacy`. */
  readonly backends: readonly {
    readonly program: string
    /** Docker's chains are in this one. */
    readonly docker: boolean
    /** FORWARD leads to DOCKER-USER. */
    readonly reached: boolean
    /** Our rules in DOCKER-USER. */
    readonly rules: number
  }[]
}

export interface RuleTable {
  readonly name: string
  readonly found: boolean
  /** It is of this version of Drover, for this subnet and these ports. */
  readonly version: boolean
  readonly rules: { readonly found: number; readonly wanted: number }
  /** Attached containers that may not send by it. */
  readonly silenced: readonly string[]
}
