/**
 * Composition of the tunnel for either engine, and the end of a userspace one. Nothing here touches the machine
 * before `Tunnel.run`, but `endTunnel`.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, sleep } from '../../model/ports.ts'
import { seconds } from '../../model/time.ts'
import type { HostIdentity } from '../../pki/identity.ts'
import type { EngineChoice } from '../../tunnel/engine-choice.ts'
import { KernelDevice, removeKernelDevice } from '../../tunnel/kernel-device.ts'
import { KernelEngine } from '../../tunnel/kernel-engine.ts'
import { TunnelProcess } from '../../tunnel/tunnel-process.ts'
import { UapiClient } from '../../tunnel/uapi-client.ts'
import { WireguardBackend } from '../../tunnel/wireguard-backend.ts'
import type { Config } from '../config/resolve.ts'
import type { System } from '../system.ts'
import { packageFolder } from '../version.ts'
import { Tunnel, type TunnelDeps, type TunnelParts } from './tunnel.ts'

const removalDeadline = seconds(5)

export interface TunnelIdentity {
  readonly identity: HostIdentity
  /** The process is systemd's: we only wait for it. */
  readonly external: boolean
  readonly choice: EngineChoice
}

interface TunnelSystem extends TunnelDeps {
  readonly system: Pick<System, 'ip' | 'wireguard'>
}

type Parts = Omit<TunnelParts, keyof TunnelDeps | 'self' | 'presharedKeys'>

export function composeTunnel(deps: TunnelSystem, config: Config, given: TunnelIdentity): Tunnel {
  const { interface: name, mtu } = config.tunnel
  const { identity, choice } = given
  const parts =
    choice.engine === 'kernel'
      ? kernelParts(deps, config, { identity, onTrouble: (why) => tunnel.trouble(why) })
      : userspaceParts(deps, config, given)
  const tunnel: Tunnel = new Tunnel(
    { ...deps, ...parts, self: identity.id, presharedKeys: identity.presharedKeys },
    { interface: name, mtu, choice },
  )
  return tunnel
}

function kernelParts(
  deps: TunnelSystem,
  config: Config,
  { identity, onTrouble }: Pick<TunnelIdentity, 'identity'> & { readonly onTrouble: (why: string) => void },
): Parts {
  const { interface: name, port, mtu } = config.tunnel
  const { ip, wireguard } = deps.system
  const privateKey = identity.wireguardPrivate
  const keeper = new KernelDevice(
    { ...deps, ip, wireguard, onTrouble, endUserspace: () => endTunnel(config, deps.clock) },
    { name, mtu, privateKey },
  )
  const backend = new WireguardBackend(new KernelEngine(wireguard, name), { privateKey, port }, 'kernel')
  // The device itself makes way, each time it is made: systemd may have started a tunnel process again.
  return { keeper, backend, makeWay: () => Promise.resolve() }
}

function userspaceParts(deps: TunnelSystem, config: Config, { identity, external }: TunnelIdentity): Parts {
  const { interface: name, port, sockets, mtu } = config.tunnel
  const client = new UapiClient(tunnelSocket(config))
  const program = [join(packageFolder, 'bin', 'drover-wireguard'), '-f', name]
  const environment = {
    ...process.env,
    NOTIFY_SOCKET: undefined,
    DROVER_TUNNEL_SOCKETS: sockets,
    DROVER_TUNNEL_STATE: join(config.state, `${name}.state`),
    DROVER_TUNNEL_PERSIST: '1',
    DROVER_TUNNEL_MTU: String(mtu),
  }
  const keeper = new TunnelProcess(
    { ...deps, client },
    { command: external ? [] : program, environment, logFile: join(config.state, 'tunnel.log') },
  )
  const privateKey = identity.wireguardPrivate
  const backend = new WireguardBackend(client, { privateKey, port }, 'userspace')
  return { keeper, backend, makeWay: () => removeKernelDevice(deps.system, { name, privateKey }) }
}

const tunnelSocket = (config: Config): string =>
  join(config.tunnel.sockets, `${config.tunnel.interface}.sock`)

/** Ends a tunnel process, whoever started it: it ends when its socket is removed. */
export async function endTunnel(config: Config, clock: Clock): Promise<void> {
  const client = new UapiClient(tunnelSocket(config))
  const give = new AbortController()
  const held = await client.hold(give.signal).catch(() => undefined)
  rmSync(tunnelSocket(config), { force: true })
  if (held !== undefined) await Promise.race([held.ended, sleep(clock, removalDeadline)])
  give.abort()
}
