/**
 * The machine's side of the daemon: the kernel's door and the Docker engine, made once from the configuration.
 */

import { type EngineVariables, engineEndpoint } from '../docker/endpoint.ts'
import { DockerEngine } from '../docker/engine.ts'
import { EngineWatch } from '../docker/watch.ts'
import { Libc, makeArena } from '../linux/ffi.ts'
import { Pinger } from '../linux/icmp.ts'
import { CommandIp } from '../linux/ip.ts'
import { CommandIptables, type Iptables } from '../linux/iptables.ts'
import { GenericNetlink, netlinkRoom } from '../linux/netlink.ts'
import { ProcNetns } from '../linux/netns.ts'
import { CommandNft, type Nft } from '../linux/nft.ts'
import { RouteMtu } from '../linux/route-mtu.ts'
import { SystemRunner } from '../linux/run.ts'
import { type Sysctl, SystemSysctl } from '../linux/sysctl.ts'
import { NetlinkWireguard, type Wireguard } from '../linux/wireguard.ts'
import { DroverError } from '../model/errors.ts'
import type { Clock, Log, Meter } from '../model/ports.ts'
import { NetworkApplier } from '../network/apply.ts'
import { type NetworkNames, networkNames } from '../network/names.ts'
import type { Config } from './config/resolve.ts'
import { SystemClock, SystemRandom } from './ports.ts'

export interface SystemDeps {
  readonly log: Log
  readonly meter: Meter
}

export interface System {
  readonly clock: Clock
  readonly random: SystemRandom
  readonly names: NetworkNames
  readonly runner: SystemRunner
  readonly ip: CommandIp
  readonly nft: Nft
  readonly iptables: Iptables
  readonly sysctl: Sysctl
  readonly applier: NetworkApplier
  readonly netns: ProcNetns
  readonly pinger: Pinger
  readonly wireguard: Wireguard
  readonly routeMtu: RouteMtu
  readonly engine: DockerEngine
  readonly engineName: string
  readonly engineWatch: EngineWatch
}

const arenaSize = 65_536

export function systemOf(deps: SystemDeps, config: Config, variables: EngineVariables): System {
  const clock = new SystemClock()
  const random = new SystemRandom()
  const runner = new SystemRunner({}, {})
  const ip = new CommandIp({ runner }, {})
  const nft = new CommandNft({ runner }, {})
  const iptables = new CommandIptables({ runner, nft }, {})
  const sysctl = new SystemSysctl({ runner }, {})
  const netns = new ProcNetns()
  const names = networkNames(config.environment)
  const libc = new Libc(makeArena(arenaSize))
  const endpoint = engineEndpoint(variables, { host: config.docker.host, tls: config.docker })
  if (endpoint.is === 'unusable') throw new DroverError('CONFIG_INVALID', endpoint.why)
  const engine = new DockerEngine(endpoint)
  return {
    clock,
    random,
    names,
    runner,
    ip,
    nft,
    iptables,
    sysctl,
    netns,
    engine,
    engineName:
      endpoint.is === 'socket' ? `unix://${endpoint.path}` : `tcp://${endpoint.host}:${endpoint.port}`,
    engineWatch: new EngineWatch({ engine, clock, ...deps }),
    pinger: new Pinger({ libc, clock, random }),
    routeMtu: new RouteMtu(libc),
    wireguard: new NetlinkWireguard({ netlink: new GenericNetlink(new Libc(makeArena(netlinkRoom + 4096))) }),
    applier: new NetworkApplier(
      {
        ip,
        nft,
        netns,
        iptables,
        sysctl,
        log: deps.log,
      },
      { names },
    ),
  }
}
