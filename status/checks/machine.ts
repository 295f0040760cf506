/**
 * Whether this machine has what Drover needs, and whether its folder is whole. Pure.
 */
import { errorIn, type Finding, warningIn } from '../finding.ts'
import type { MachineFacts } from '../machine-facts.ts'

/** MiB: less, and a journal may not be written any more. */
const leastDisk = 100

export function missingPrograms({ missing }: Pick<MachineFacts, 'missing'>): readonly Finding[] {
  if (missing.length === 0) return []
  const packages = [...new Set(missing.map((one) => one.package))]
  const programs = missing.map(({ program }) => program).join(', ')
  return [errorIn('machine', `this machine has no ${programs}`, `apt-get install ${packages.join(' ')}`)]
}

export const deviceFiles = ({
  tun,
  kernelEngine,
}: Pick<MachineFacts, 'tun' | 'kernelEngine'>): readonly Finding[] =>
  tun || kernelEngine
    ? []
    : [
        errorIn(
          'machine',
          '/dev/net/tun is not there, which the userspace tunnel needs',
          'modprobe tun; where there are no modules: mkdir -p /dev/net && mknod -m 0666 /dev/net/tun c 10 200',
        ),
      ]

export function memberState({ membership }: Pick<MachineFacts, 'membership'>): readonly Finding[] {
  if (membership.is === 'member') return []
  if (membership.is === 'unusable')
    return membership.faults.map(({ what, remedy }) => errorIn('configuration', what, remedy))
  return [
    errorIn(
      'configuration',
      `this machine has not joined an environment: ${membership.state} holds none`,
      'run `drover init` on the first host, `drover join TOKEN` on every other',
    ),
  ]
}

export function stateFolder({ folder }: Pick<MachineFacts, 'folder'>): readonly Finding[] {
  if (folder === undefined) return []
  const { path, open, free } = folder
  return [
    ...open.map((file) =>
      errorIn('configuration', `${file} can be read by others, and holds keys`, `chmod 600 ${file}`),
    ),
    ...(free < leastDisk
      ? [
          errorIn(
            'machine',
            `the disk of ${path} has ${free} MiB left`,
            'make room: addresses are written there before they are given, certificates when they are renewed',
          ),
        ]
      : []),
  ]
}

export const couldNotSee = (what: string, why: string): Finding =>
  warningIn('machine', `could not look at ${what}: ${why}`, 'mend that, and ask again')
