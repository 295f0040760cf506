/**
 * From what was written to what holds: every path, name and port that may be left out is derived here, from
 * the environment's name where two daemons on one machine must not meet.
 */
import { uuidOf } from '../../model/uuid.ts'
import type { ConfigInput } from './schema.ts'

/** What only the machine knows. */
export interface MachineFacts {
  readonly hostname: string
  /** Source address of the default route; undefined where there is none. */
  readonly address: string | undefined
}

export interface Config extends ConfigInput {
  readonly state: string
  readonly run: string
  readonly admin: string
  readonly host: { readonly name: string; readonly address: string }
  readonly tunnel: ConfigInput['tunnel'] & { readonly interface: string }
}

export function resolveConfig(input: ConfigInput, machine: MachineFacts): Config {
  const isDefault = input.environment === 'default'
  const suffix = isDefault ? '' : `-${input.environment}`
  const run = input.run ?? `/run/drover${suffix}`
  return {
    ...input,
    state: input.state ?? `/var/lib/drover${suffix}`,
    run,
    admin: input.admin ?? `${run}/drover.sock`,
    host: {
      name: input.host.name ?? machine.hostname,
      address: input.host.address ?? machine.address ?? '127.0.0.1',
    },
    tunnel: {
      ...input.tunnel,
      interface:
        input.tunnel.interface ??
        (isDefault ? 'drover0' : `drv${uuidOf('tunnel', input.environment).slice(0, 8)}`),
    },
  }
}
