/**
 * What the composition root makes once for the whole life of a daemon.
 */
import type { Log } from '../model/ports.ts'
import type { HostIdentity } from '../pki/identity.ts'
import type { LogTail } from './diagnosis/log-tail.ts'
import type { Handover } from './handover/predecessor.ts'
import type { PrometheusMeter } from './meter.ts'
import type { IpsecPart } from './peers/ipsec-part.ts'
import type { Tunnel } from './peers/tunnel.ts'
import type { System } from './system.ts'
import type { Tasks } from './tasks.ts'
import type { TrustParts } from './trust/trust-parts.ts'

export interface DaemonParts {
  readonly system: System
  readonly log: Log
  readonly tail: LogTail
  readonly meter: PrometheusMeter
  readonly tasks: Tasks
  readonly tunnel: Tunnel
  readonly ipsec: IpsecPart
  readonly identity: HostIdentity
  readonly trust: TrustParts
  readonly handover: Pick<Handover, 'pid' | 'begin'>
}
