/**
 * What of one daemon speaks to the store: observer, publisher and alive key on a store of the test's, with a clock that
 * moves only when told.
 */
import { AliveKey } from '../../daemon/records/alive-key.ts'
import { Fold } from '../../daemon/records/fold.ts'
import { Live } from '../../daemon/records/live.ts'
import { Observer } from '../../daemon/records/observer.ts'
import { Publisher } from '../../daemon/records/publisher.ts'
import type { Environment } from '../../model/environment.ts'
import { keysOf } from '../../model/keys.ts'
import type { Ledger } from '../../model/ports.ts'
import { instant } from '../../model/time.ts'
import { counterOf } from '../../pki/envelope.ts'
import { loadOrCreateIdentity } from '../../pki/identity.ts'
import { EnvelopeSealer } from '../../pki/sealer.ts'
import type { Trust } from '../../pki/trust.ts'
import type { MemoryStore } from '../../store/memory.ts'
import type { Store } from '../../store/store.ts'
import { type FakeClock, MemoryLedger, MemoryLog, MemoryMeter } from './ports.ts'
import { container, hostRecord, settings } from './records.ts'

export const keys = keysOf('default')

/** What of a daemon speaks to the store, without a machine. */
export function daemonOn(store: Store, clock: FakeClock, folder: string, snapshots: Ledger) {
  const log = new MemoryLog()
  const meter = new MemoryMeter()
  const identity = loadOrCreateIdentity(folder)
  const self = identity.id
  const seen: Environment[] = []
  const renewals: number[] = []
  const ledger = new MemoryLedger()
  const sealer = new EnvelopeSealer({ identity, ledger })
  const live: Live = new Live(
    { self, sealer, ledger, clock, onChange: () => publisher.headChanged(), keeps: () => false },
    keys,
  )
  const { trust, signingKey } = { trust: noTrust, signingKey: identity.signingKey }
  const publisher: Publisher = new Publisher(
    {
      store,
      sealer,
      live,
      raise: (counter) => sealer.raise(counter),
      clock,
      log,
      meter,
    },
    { keys, self, signingKey },
  )
  const takenOut: string[] = []
  const aliveKey = new AliveKey(
    {
      ...{ store, sealer, clock, log, meter },
      onRenewed: (_sent, revision) => void renewals.push(revision),
      onTakenOut: (key) => void takenOut.push(key),
    },
    { keys, self, started: instant(1) },
  )
  const observer = new Observer(
    {
      store,
      fold: new Fold(
        {
          log,
          meter,
          trust: () => trust,
          now: () => clock.now(),
          isLive: (key, counter) => live.isLive(key, counter),
        },
        { keys, self, settings },
      ),
      snapshots,
      clock,
      log,
      meter,
      onArrival: () => undefined,
      onUpdate: (update) => {
        publisher.observe(update)
        aliveKey.observe(update)
      },
      onEnvironment: (environment) => void seen.push(environment),
    },
    keys,
  )
  const host = hostRecord('h1', { id: self, signingKey: identity.signingKey })
  const web = container('web', { host: self })
  const wanted = new Map<string, object>([
    [keys.host(self), host],
    [keys.container(self, web.id), web],
  ])
  return { self, observer, publisher, aliveKey, takenOut, seen, renewals, wanted, web, host }
}

const noTrust: Trust = { environment: settings.uuid, authorities: [], revoked: new Set() }

/** Until what is under way in this process has come to rest. */
export const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 200; turn++) await Promise.resolve()
}

/** The number of the envelope at a key; -1 for none. */
export const counterAt = async (store: MemoryStore, key: string): Promise<number> =>
  counterOf((await store.get(key))?.value ?? new Uint8Array())
