/**
 * `drover doctor` as tables of checks: what the running daemon knows, and what the machine shows without it. A new
 * check is a pure function in checks/ and a line here. `statusChecks` are those whose findings `drover status`
 * shows as well.
 */
import type { Environment } from '../model/environment.ts'
import { type Attempts, refusedJoins, tampering } from './checks/attempts.ts'
import {
  sameContainerNames,
  splitNamespaces,
  type UnaskableName,
  unaskableNames,
  unmetWishes,
} from './checks/containers.ts'
import { type Upstreams, upstreamResolvers } from './checks/dns.ts'
import { dockerChains, walls } from './checks/firewall.ts'
import { awayHosts, type Clocks, clockSkew, narrowPaths, sameHostNames } from './checks/hosts.ts'
import { ipsecObstacle } from './checks/ipsec.ts'
import { connectionTracking, forwarding } from './checks/kernel.ts'
import { deviceFiles, memberState, missingPrograms, stateFolder } from './checks/machine.ts'
import { dockerAnswers, storeAnswers, tunnelRuns, tunnelSettings } from './checks/parts.ts'
import { mendedRules, type Run, restartedWorkers, storeLag } from './checks/running.ts'
import { portsTaken } from './checks/sockets.ts'
import { subnetOverlap } from './checks/subnet.ts'
import { authoritiesEnd, authorityHolders, type Lifetimes, missedRenewals } from './checks/trust.ts'
import { tunnelMemory } from './checks/tunnel-size.ts'
import { movingCounters } from './checks/xfrm.ts'
import { type Check, type Finding, parts } from './finding.ts'
import type { MachineFacts } from './machine-facts.ts'
import type { Vitals } from './vitals.ts'

/** What status is made of. */
export interface Known {
  readonly environment: Environment
  readonly vitals: Vitals
}

/** What the running daemon knows. */
export interface DaemonFacts extends Known, Attempts, Clocks, Lifetimes, Run, Upstreams {
  readonly skipped: readonly UnaskableName[]
}

export const statusChecks: readonly Check<Known>[] = [
  tunnelSettings,
  dockerAnswers,
  storeAnswers,
  tunnelRuns,
  ({ vitals }) => vitals.problems,
  narrowPaths,
  awayHosts,
  sameHostNames,
  sameContainerNames,
  unmetWishes,
]

export const daemonChecks: readonly Check<DaemonFacts>[] = [
  ...statusChecks,
  storeLag,
  authoritiesEnd,
  authorityHolders,
  missedRenewals,
  tampering,
  refusedJoins,
  clockSkew,
  splitNamespaces,
  unaskableNames,
  upstreamResolvers,
  restartedWorkers,
  mendedRules,
]

export const machineChecks: readonly Check<MachineFacts>[] = [
  missingPrograms,
  deviceFiles,
  memberState,
  stateFolder,
  portsTaken,
  dockerChains,
  walls,
  subnetOverlap,
  forwarding,
  connectionTracking,
  movingCounters,
  tunnelMemory,
  ipsecObstacle,
  ({ unseen }) => unseen,
]

export interface DoctorView {
  readonly version: string
  readonly host: string
  readonly environment: string
  /** Whether the daemon took part. */
  readonly daemon: boolean
  readonly findings: readonly Finding[]
}

/** By part, errors before warnings; each finding once. */
export function sorted(findings: readonly Finding[]): readonly Finding[] {
  const rank = ({ where, severity }: Finding): number =>
    parts.indexOf(where) * 2 + (severity === 'error' ? 0 : 1)
  const unique = new Map(findings.map((one) => [`${one.where} ${one.what}`, one]))
  return [...unique.values()].sort((one, other) => rank(one) - rank(other))
}
