/**
 * The composition root of the control plane: the only place where a `Control` and its parts are made. Nothing
 * here touches the machine; `Lifecycle` starts what is made.
 */
import { join } from 'node:path'
import { wishOf } from '../docker/labels.ts'
import { Allocator } from '../ipam/allocator.ts'
import type { Environment } from '../model/environment.ts'
import type { Ipv4 } from '../model/ip.ts'
import { keysOf } from '../model/keys.ts'
import type { Clock, Log, Meter } from '../model/ports.ts'
import type { HostId, HostRecord } from '../model/records.ts'
import type { Instant } from '../model/time.ts'
import type { Attachment } from '../network/attachments.ts'
import type { HostIdentity } from '../pki/identity.ts'
import { ownTls } from '../pki/own-tls.ts'
import { EnvelopeSealer } from '../pki/sealer.ts'
import { readTrustFile } from '../pki/trust-file.ts'
import { SqliteLedger } from '../store/ledger.ts'
import { openStore } from '../store/open.ts'
import type { Store } from '../store/store.ts'
import { type Bound, composeTrust } from './compose-trust.ts'
import type { Config } from './config/resolve.ts'
import { Adoption } from './containers/adoption.ts'
import { NetworkAttacher } from './containers/attacher.ts'
import { Containers } from './containers/containers.ts'
import { Control } from './control.ts'
import { serversAddress } from './dns-options.ts'
import { bootId } from './machine.ts'
import type { Membership } from './membership/membership.ts'
import { AliveKey } from './records/alive-key.ts'
import { Fold } from './records/fold.ts'
import { Live } from './records/live.ts'
import { Observer } from './records/observer.ts'
import { Publisher } from './records/publisher.ts'
import { Declarations } from './services/declarations.ts'
import type { System } from './system.ts'
import type { Tasks } from './tasks.ts'
import type { TrustParts } from './trust/trust-parts.ts'

export interface Ledgers {
  /** Addresses, and the counter of signatures. */
  readonly journal: SqliteLedger
  /** The last snapshot of a store that is elsewhere. */
  readonly snapshots: SqliteLedger
}

export interface ControlParts {
  readonly system: System
  readonly log: Log
  readonly meter: Meter
  readonly tasks: Tasks
  readonly ledgers: Ledgers
  readonly identity: HostIdentity
  readonly trust: TrustParts
  readonly config: Config
  readonly started: Instant
  /** Attachments that the kernel has now. */
  readonly found: readonly Attachment[]
  readonly hostRecord: (managed: Ipv4 | undefined) => HostRecord
  readonly onEnvironment: (environment: Environment) => void
}

export function openLedgers(state: string): Ledgers {
  return {
    journal: new SqliteLedger({ path: join(state, 'journal.db') }),
    snapshots: new SqliteLedger({ path: join(state, 'snapshot.db') }),
  }
}

export function storeOf(
  url: string,
  config: Config,
  deps: Pick<System, 'clock'> & { readonly log: Log },
): Promise<Store> {
  const { ca, cert, key, user, password } = config.store
  const own = readTrustFile(config.state) === undefined ? undefined : () => ownTls(config.state)
  return openStore(
    { url, path: join(config.state, 'store.db'), tls: { ca, cert, key }, own, user, password },
    deps,
  )
}

/** What holds for the environment wherever its store is. */
export function composeControl(parts: ControlParts, membership: Membership, store: Store): Control {
  const { system, log, meter, tasks, ledgers, identity, config, found } = parts
  const { clock, names, applier, netns } = system
  const { settings } = membership
  const keys = keysOf(membership.environment)
  const self = identity.id
  const sealer = new EnvelopeSealer({ identity, ledger: ledgers.journal })
  const onChange = (): void => publisher.headChanged()
  const keeps = (key: string): boolean => allocator.keeps(key)
  const live = new Live({ self, sealer, ledger: ledgers.journal, clock, onChange, keeps }, keys)
  const isMember = (): boolean => !parts.trust.keeper.trust.revoked.has(self)
  const allocator: Allocator = new Allocator(
    { store, ledger: ledgers.journal, sealer: live, clock, log, meter, isMember },
    { keys, self, settings, bootId: bootId() },
  )
  const attacher = new NetworkAttacher(
    { applier, netns, hostAddress: () => allocator.managed() },
    {
      names,
      subnet: settings.subnet,
      domain: settings.domain,
      mtu: config.tunnel.mtu,
      servers: serversAddress,
    },
    found,
  )
  const containers = new Containers(
    { addresses: allocator, attacher, wishOf, clock, log, meter, onChange: () => control.publish() },
    { environment: membership.environment, hostInode: attacher.inodeOf(process.pid) ?? 0 },
  )
  const publisher: Publisher = new Publisher(
    { ...{ store, sealer, live, clock, log, meter }, raise: (counter) => sealer.raise(counter) },
    { keys, self, signingKey: identity.signingKey },
  )
  const aliveKey = new AliveKey(
    {
      ...{ store, sealer, clock, log, meter },
      onRenewed: (sent, revision) => allocator.renewed(sent, revision),
      onTakenOut: (key) => trust.takenOut(key),
    },
    { keys, self, started: parts.started },
  )
  const bound = { keys, store, sealer }
  const observer = composeObserver(parts, membership, { ...bound, live }, () => control)
  const declarations = composeDeclarations(
    { ...bound, live, self, clock, observer, publisher },
    () => control,
  )
  const wants = (key: string): boolean => publisher.wants(key) || allocator.keeps(key)
  const trust = composeTrust(parts, membership, { ...bound, wants, declarations }, () => control)
  const adoption = composeAdoption(parts, allocator)
  const control: Control = new Control(
    {
      store,
      observer,
      publisher,
      aliveKey,
      allocator,
      adoption,
      containers,
      declarations,
      clock,
      meter,
      tasks,
      trust,
      hostRecord: () => parts.hostRecord(allocator.managed()),
      onEnvironment: parts.onEnvironment,
    },
    keys,
  )
  return control
}

function composeAdoption({ system, log, found }: ControlParts, allocator: Allocator): Adoption {
  return new Adoption(
    {
      adopt: (container, address) => allocator.adopt(container, address),
      detach: (inode) => system.applier.detach(inode),
      log,
    },
    found,
  )
}

function composeDeclarations(
  {
    keys,
    store,
    live,
    self,
    clock,
    observer,
    publisher,
  }: Bound & {
    readonly live: Live
    readonly self: HostId
    readonly clock: Clock
    readonly observer: Observer
    readonly publisher: Publisher
  },
  control: () => Control,
): Declarations {
  return new Declarations(
    {
      store,
      live,
      clock,
      environment: () => observer.environment,
      fresh: () => observer.fresh,
      counts: (key) => observer.counts(key),
      signerOf: (key) => observer.signerOf(key),
      wentBack: () => observer.wentBack,
      onChange: () => control().publish(),
      onForget: () => publisher.headChanged(),
    },
    { keys, self },
  )
}

function composeObserver(
  { system, log, meter, ledgers, identity, trust }: ControlParts,
  { settings, store: url }: Membership,
  { keys, store, live }: Bound & { readonly live: Live },
  control: () => Control,
): Observer {
  const { clock } = system
  const fold = new Fold(
    {
      log,
      meter,
      trust: () => trust.keeper.trust,
      now: () => clock.now(),
      isLive: (key, counter) => live.isLive(key, counter),
    },
    { keys, self: identity.id, settings },
  )
  return new Observer(
    {
      store,
      fold,
      snapshots: url === 'embedded' ? undefined : ledgers.snapshots,
      clock,
      log,
      meter,
      onArrival: (update) => control().arrived(update),
      onUpdate: (update) => control().updated(update),
      onEnvironment: (environment) => control().observed(environment),
    },
    keys,
  )
}
