/**
 * Whether this host takes part in IPsec, decided once when the daemon starts: the kernel is asked for ESP, and who
 * encrypts where it has none. The part of a host without IPsec does nothing and says why.
 */
import type { Runner } from '../../linux/run.ts'
import type { Clock, Log, Meter } from '../../model/ports.ts'
import type { Settings } from '../../model/records.ts'
import { noIpsec } from '../../network/ipsec-plan.ts'
import type { HostIdentity } from '../../pki/identity.ts'
import type { BackendWish } from '../../tunnel/choice.ts'
import { endCharon } from '../../tunnel/ipsec/charon-place.ts'
import type { Esp } from '../../tunnel/ipsec/connections.ts'
import { espMissing } from '../../tunnel/ipsec/esp-probe.ts'
import type { Config } from '../config/resolve.ts'
import { IpsecTunnel, userspaceMtu } from './ipsec.ts'
import { charonFolder, composeIpsec, type IpsecDeps } from './ipsec-engine.ts'

export type IpsecPart = Pick<
  IpsecTunnel,
  'run' | 'observe' | 'state' | 'links' | 'record' | 'peers' | 'vitals' | 'problems' | 'close'
>

export type EspChoice =
  | { readonly is: 'esp'; readonly esp: Esp }
  /** `why`: a clause for people. */
  | { readonly is: 'none'; readonly why: string }

export async function espChoice(wish: BackendWish, runner: Pick<Runner, 'attempt'>): Promise<EspChoice> {
  if (wish === 'wireguard') return { is: 'none', why: 'as configured' }
  const missing = await espMissing(runner)
  if (missing === '') return { is: 'esp', esp: 'kernel' }
  return wish === 'ipsec'
    ? { is: 'esp', esp: 'userspace' }
    : { is: 'none', why: `the kernel has no ESP (${missing})` }
}

/** Packets that charon itself encrypts are no larger than it reads. */
export const withMtuOf = (choice: EspChoice, config: Config): Config =>
  choice.is === 'esp' && choice.esp === 'userspace'
    ? { ...config, tunnel: { ...config.tunnel, mtu: Math.min(config.tunnel.mtu, userspaceMtu) } }
    : config

export interface IpsecPartGiven {
  readonly choice: EspChoice
  readonly identity: HostIdentity
  readonly settings: Pick<Settings, 'name' | 'subnet'>
  /** Charon is systemd's: we only wait for it. */
  readonly external: boolean
}

export function ipsecPart(
  deps: Omit<IpsecDeps, 'onTrouble'> & {
    readonly clock: Clock
    readonly log: Log
    readonly meter: Meter
  },
  config: Config,
  { choice, identity, settings, external }: IpsecPartGiven,
): IpsecPart {
  if (choice.is === 'none') return withoutIpsec(choice.why, () => endCharon(charonFolder(config), deps.clock))
  const { esp } = choice
  const engine = composeIpsec({ ...deps, onTrouble: (fault) => part.trouble(fault) }, config, {
    identity,
    settings,
    esp,
    external,
  })
  const { ipsecPort: port, backend: wish } = config.tunnel
  const part: IpsecTunnel = new IpsecTunnel({ ...deps, ...engine }, { self: identity.id, port, esp, wish })
  return part
}

/** `end`: of a charon that an earlier daemon used. */
const withoutIpsec = (why: string, end: () => Promise<void>): IpsecPart => ({
  run: end,
  observe: () => {},
  state: { is: 'none', why },
  links: () => noIpsec,
  record: () => undefined,
  peers: () => nobody,
  vitals: () => ({ esp: null, running: false, reason: why, perCpu: false }),
  problems: () => [],
  close: () => Promise.resolve(),
})

const nobody = [] as const
