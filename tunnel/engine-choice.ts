/**
 * Which engine runs WireGuard on this host, and why; decided once, when the daemon starts. Pure.
 */
import { DroverError } from '../model/errors.ts'

export type EngineName = 'kernel' | 'userspace'

export interface EngineChoice {
  readonly engine: EngineName
  /** What the operator asked for. */
  readonly wanted: EngineName | 'auto'
  /** A clause for people. */
  readonly reason: string
}

/** `kernelHas`: whether the kernel has WireGuard; asked only where it matters. */
export function engineChoice(wanted: EngineName | 'auto', kernelHas: () => boolean): EngineChoice {
  if (wanted === 'userspace') return { engine: wanted, wanted, reason: 'as configured' }
  if (kernelHas())
    return {
      engine: 'kernel',
      wanted,
      reason: wanted === 'auto' ? 'the kernel has WireGuard' : 'as configured',
    }
  if (wanted === 'kernel') throw new DroverError('TUNNEL_ENGINE', 'this kernel has no WireGuard')
  return { engine: 'userspace', wanted, reason: 'the kernel has no WireGuard' }
}
