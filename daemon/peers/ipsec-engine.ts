/**
 * Composition of IPsec: charon as a process of its own, what keeps it, and the backend. Nothing here touches the
 * machine before `Keeper.run`.
 */
import type { Runner } from '../../linux/run.ts'
import { DroverError, reasonOf } from '../../model/errors.ts'
import type { Clock, Log, Meter } from '../../model/ports.ts'
import type { Settings } from '../../model/records.ts'
import type { HostIdentity } from '../../pki/identity.ts'
import { answerWithin, charonJudge } from '../../tunnel/ipsec/charon-judge.ts'
import { CharonKeeper } from '../../tunnel/ipsec/charon-keeper.ts'
import {
  type CharonFolder,
  charonEnvironment,
  charonProgram,
  type PrepareDeps,
  prepareCharon,
} from '../../tunnel/ipsec/charon-place.ts'
import { activityOf, CharonDevice, charonsOf, endCharons } from '../../tunnel/ipsec/charon-process.ts'
import { watchCharon } from '../../tunnel/ipsec/charon-watch.ts'
import type { Esp } from '../../tunnel/ipsec/connections.ts'
import { IpsecBackend } from '../../tunnel/ipsec/ipsec-backend.ts'
import { ViciClient } from '../../tunnel/ipsec/vici-client.ts'
import { kernelSasIn } from '../../tunnel/ipsec/xfrm.ts'
import type { Keeper } from '../../tunnel/keeper.ts'
import { TunnelProcess } from '../../tunnel/tunnel-process.ts'
import type { Config } from '../config/resolve.ts'
import type { TrustKeeper } from '../trust/trust-keeper.ts'

export interface IpsecDeps {
  readonly runner: Runner
  readonly trust: Pick<TrustKeeper, 'certificate' | 'trust'>
  /** Told why there is no charon; empty when there is one again. */
  readonly onTrouble: (why: DroverError | undefined) => void
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
}

export interface IpsecGiven {
  readonly identity: HostIdentity
  readonly settings: Pick<Settings, 'name' | 'subnet'>
  readonly esp: Esp
  /** The process is systemd's: we only wait for it. */
  readonly external: boolean
  /** Words before charon's own: how it gets into another network namespace. */
  readonly within?: readonly string[]
}

export interface Ipsec {
  readonly keeper: Keeper
  readonly backend: IpsecBackend
  /** The device that charon encrypts for; undefined where it has none. */
  readonly device: () => string | undefined
}

/** Where charon of this daemon has its configuration. */
export const charonFolder = (config: Config): string => `${config.state}/ipsec`

const placeOf = (config: Config, { esp, external }: Pick<IpsecGiven, 'esp' | 'external'>): CharonFolder => {
  const folder = charonFolder(config)
  return {
    folder,
    socket: `${config.run}/charon.vici`,
    port: config.tunnel.ipsecPort,
    esp,
    logFile: external ? undefined : `${folder}/charon.log`,
  }
}

export function composeIpsec(deps: IpsecDeps, config: Config, given: IpsecGiven): Ipsec {
  const { clock, log, meter, runner, trust } = deps
  const { identity, settings, esp, external, within = [] } = given
  const place = placeOf(config, given)
  const connect = () => ViciClient.open(place.socket)
  const backend = new IpsecBackend(
    {
      connect,
      credentials: () => ({
        certificate: trust.certificate,
        key: identity.tlsKey(),
        authorities: trust.trust.authorities.map(({ pem }) => pem),
      }),
      kernelSas: esp === 'kernel' ? () => kernelSas(runner) : undefined,
      clock,
      log,
      meter,
    },
    { host: identity.id, environment: settings.name, subnet: settings.subnet, esp, port: place.port },
  )
  const tun = new CharonDevice(place.folder)
  const device = () => (esp === 'userspace' ? tun.name() : undefined)
  const hold = () => ViciClient.open(place.socket, { deadline: answerWithin })
  const judge = charonJudge({
    ask: async () => (await hold()).close(),
    activity: () => activityOf(place.folder),
    clock,
  })
  const client = watchCharon({
    connect: hold,
    judge,
    device,
    end: () => endCharons(charonsOf(place.folder), { folder: place.folder, clock, signal: 'SIGKILL' }),
    clock,
    log,
  })
  const charon = new TunnelProcess(
    { clock, log, meter, client, prepare: () => prepared(place, { ...deps, judge }) },
    {
      name: 'charon',
      command: external ? [] : [...within, charonProgram() ?? 'charon-systemd'],
      environment: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...charonEnvironment(place.folder) },
      logFile: `${config.state}/ipsec.log`,
    },
  )
  const keeper = new CharonKeeper({ charon, tend: () => backend.tend(), clock, log })
  return { keeper, backend, device }
}

async function kernelSas(runner: Runner) {
  const states = await runner.run(['ip', 'xfrm', 'state'])
  return kernelSasIn(states, await runner.run(['ip', 'xfrm', 'policy']))
}

/** Rejects where charon may not be started; what is in the way is told, not that one is slow to answer. */
async function prepared(
  place: CharonFolder,
  { onTrouble, ...deps }: Pick<IpsecDeps, 'onTrouble'> & PrepareDeps,
): Promise<void> {
  const ready = await prepareCharon(place, deps).catch((error: unknown) => {
    const known = error instanceof DroverError ? error : new DroverError('STATE_UNUSABLE', reasonOf(error))
    onTrouble(known)
    throw known
  })
  if (!ready) throw new DroverError('IPSEC_UNAVAILABLE', place.socket)
  onTrouble(undefined)
}
