/**
 * The userspace tunnel as a process: one, and of a size that it should have. Pure.
 */
import { errorIn, type Finding, warningIn } from '../finding.ts'
import type { MachineFacts } from '../machine-facts.ts'

/** MiB; systemd/drover-tunnel.service ends it at 512. */
const large = 384

export function tunnelMemory({ tunnelProcesses }: Pick<MachineFacts, 'tunnelProcesses'>): readonly Finding[] {
  const pids = tunnelProcesses.map(({ pid }) => pid).join(', ')
  return [
    ...(tunnelProcesses.length > 1
      ? [
          errorIn(
            'tunnel',
            `several tunnel processes want one interface: ${pids}`,
            'end those that the daemon does not use (`drover status`); systemd and a daemon that starts its own get in each other’s way',
          ),
        ]
      : []),
    ...tunnelProcesses
      .filter(({ memory }) => memory > large)
      .map(({ pid, memory }) =>
        warningIn(
          'tunnel',
          `the tunnel process ${pid} takes ${Math.round(memory)} MiB`,
          '`drover tunnel --replace` puts a fresh one in its place without losing a packet; send `drover report`',
        ),
      ),
  ]
}
