/**
 * What is wrong with containers: wishes that could not be met, names that two have or that DNS cannot carry,
 * network namespaces that came apart. Pure.
 */
import type { Environment } from '../../model/environment.ts'
import type { ContainerId } from '../../model/records.ts'
import { isRunning } from '../../model/services.ts'
import { type Finding, warningIn } from '../finding.ts'
import { shared } from '../shared.ts'
import { nameOf } from './hosts.ts'

interface Known {
  readonly environment: Environment
}

/** Refused addresses, labels that cannot be used, attachments that failed. */
export const unmetWishes = ({ environment }: Known): readonly Finding[] =>
  [...environment.containers.values()]
    .filter(({ host }) => host === environment.self)
    .flatMap(({ name, problems }) =>
      problems.map((what) => warningIn('containers', `container ${name}: ${what}`, 'see `drover ps`')),
    )

export const sameContainerNames = ({ environment }: Known): readonly Finding[] =>
  shared(
    environment.containers.values(),
    ({ name }) => name,
    ({ host }) => nameOf(environment, host),
  ).map(([name, hosts]) =>
    warningIn(
      'containers',
      `container name ${name} is used on ${hosts.join(' and ')}`,
      'rename one; DNS gives both, metadata the older',
    ),
  )

/** Docker leaves a sharer in the namespace of the run that it joined, also after the other one was restarted. */
export const splitNamespaces = ({ environment }: Known): readonly Finding[] =>
  [...environment.containers.values()].flatMap((one) => {
    const owner = one.networkFrom === null ? undefined : environment.containers.get(one.networkFrom)
    if (owner === undefined || one.host !== environment.self) return []
    if (!isRunning(one) || !isRunning(owner) || one.address === null || one.address === owner.address)
      return []
    return [
      warningIn(
        'containers',
        `container ${one.name} shares the network of ${owner.name}, but of an earlier run of it: they are two addresses now`,
        `docker restart ${one.name}`,
      ),
    ]
  })

/** A name that nobody can ask for. */
export interface UnaskableName {
  /** Undefined for a declared service. */
  readonly container: ContainerId | undefined
  readonly what: string
  readonly name: string
  readonly why: string
}

export const unaskableNames = ({
  environment,
  skipped,
}: Known & { readonly skipped: readonly UnaskableName[] }): readonly Finding[] =>
  skipped.map(({ container, what, name, why }) => {
    const record = container === undefined ? undefined : environment.containers.get(container)
    const whose = record === undefined || what === 'container' ? '' : ` of container ${record.name}`
    const at = record === undefined ? '' : ` on ${nameOf(environment, record.host)}`
    return warningIn(
      'containers',
      `the ${what} name ${name}${whose}${at} is in no answer of DNS: ${why}`,
      'give it another name',
    )
  })
