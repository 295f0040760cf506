/**
 * Names that DNS cannot carry, for `drover doctor`: the container works, but not by this name.
 */
import type { Environment } from '../../model/environment.ts'
import { dnsLabel, printable } from '../../model/names.ts'
import type { ContainerId } from '../../model/records.ts'

export interface SkippedName {
  /** undefined for a service that was declared and has no container to blame. */
  readonly container: ContainerId | undefined
  /** Printable, whatever it was. */
  readonly name: string
  readonly what: 'container' | 'stack' | 'service' | 'sidekick'
  readonly why: string
}

const why = (name: string): string => {
  if (name.length > 63) return 'a DNS label has at most 63 characters'
  if (name.includes('.')) return 'a dot divides labels, so this is not one DNS label'
  return 'a DNS label has only letters, digits, hyphens and underscores, and no hyphen at either end'
}

/** Every name of the environment that is answered by nobody, with the reason; one line each. */
export function skippedNames(environment: Environment): readonly SkippedName[] {
  const skipped: SkippedName[] = []
  const check = (
    container: ContainerId | undefined,
    what: SkippedName['what'],
    name: string | null,
  ): void => {
    if (name !== null && dnsLabel(name) === undefined)
      skipped.push({ container, name: printable(name), what, why: why(name) })
  }
  for (const { id, name, stack, service, sidekick } of environment.containers.values()) {
    check(id, 'container', name)
    if (stack === null || service === null) continue
    check(id, 'stack', stack)
    check(id, 'service', service)
    check(id, 'sidekick', sidekick)
  }
  for (const { stack, name } of environment.services.values()) {
    check(undefined, 'stack', stack)
    check(undefined, 'service', name)
  }
  return skipped
}
