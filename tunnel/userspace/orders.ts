/**
 * What the control thread of a tunnel tells its packet thread, and what that answers. Values that structured
 * cloning carries.
 */
import type { EngineFacts } from '../engine-facts.ts'
import type { DeviceChange, DeviceStatus } from '../wireguard/change.ts'
import type { Drops } from '../wireguard/drops.ts'
import type { DriverStatus } from '../wireguard/uapi.ts'
import type { Descriptors, Inherited } from './handover.ts'

export type Order =
  | { readonly is: 'set'; readonly id: number; readonly change: DeviceChange }
  | { readonly is: 'get'; readonly id: number }
  /** `remove`: the device goes too, even a persistent one. */
  | { readonly is: 'stop'; readonly remove: boolean }
  /** Do a little of what `freeze` will ask for, so that it is compiled by then. */
  | { readonly is: 'practise'; readonly id: number }
  /** Give the state away by that descriptor, as that version; seal and open nothing until `resume` or `stop`. */
  | { readonly is: 'freeze'; readonly id: number; readonly channel: number; readonly version: number }
  | { readonly is: 'resume' }

/** What the packet thread counts besides what the protocol drops. */
export interface Traffic {
  /** Packets of the TUN device that lie about themselves. */
  readonly malformed: number
  /** Refused by the kernel: datagrams, and packets for the TUN device. */
  readonly refusedDatagrams: number
  readonly refusedPackets: number
}

export type Report =
  /** `heir`: whether it goes on with the sessions of a predecessor. */
  | { readonly is: 'ready'; readonly facts: StartFacts; readonly heir: boolean }
  | { readonly is: 'done'; readonly id: number; readonly errno: number }
  | {
      readonly is: 'status'
      readonly id: number
      readonly device: DeviceStatus
      readonly driver: DriverStatus
      /** As they are now: offloads may give way while it runs. */
      readonly facts: EngineFacts
      readonly drops: Drops
      readonly traffic: Traffic
      readonly descriptors: Omit<Descriptors, 'uapi'>
    }
  | { readonly is: 'frozen'; readonly id: number }
  | { readonly is: 'failed'; readonly why: string }
  | { readonly is: 'ended'; readonly why: 'gone' | 'stopped' }

/** What was found to work when the engine started. */
export interface StartFacts extends EngineFacts {
  readonly interface: string
}

/** Each can be switched off. */
export const switches = [
  'tso',
  'uso',
  'gso',
  'gro',
  'coalesce',
  'openssl',
  'fused',
  'priority',
  'gso-tail',
] as const
export type Switch = (typeof switches)[number]

export const isOn = ({ without }: Pick<EngineOptions, 'without'>, name: Switch): boolean =>
  !without.includes(name)

export interface EngineOptions {
  /** What it takes over instead of making its own. */
  readonly inherited: Inherited | undefined
  readonly interface: string
  readonly fd: number | undefined
  readonly persistent: boolean
  /** Set only where the device is made; undefined keeps what it has. */
  readonly mtu: number | undefined
  readonly without: readonly Switch[]
}
