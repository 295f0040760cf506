/**
 * What of an environment an asker sees: all of it, or its own stack only where the operator says so. Hosts and the
 * network are seen by everybody. Pure.
 */
import type { Asker } from './asker.ts'
import type { Parts } from './parts.ts'

/** What a container sees: the whole environment, or what shares its stack. */
export const scopes = ['environment', 'stack'] as const
export type Scope = (typeof scopes)[number]

/** Askers with the same key see the same; undefined sees everything. */
export function viewKey(scope: Scope, asker: Asker): string | undefined {
  if (scope === 'environment' || asker.is === 'host') return undefined
  if (asker.is === 'ambiguous') return 'nobody'
  const { stack, id } = asker.record
  return stack === null ? `container ${id}` : `stack ${stack}`
}

/** The parts that an asker with a view of its own sees. */
export function seenBy(parts: Parts, asker: Asker): Parts {
  const nothing = { ...parts, stacks: [], alone: { containers: [] } }
  if (asker.is !== 'container') return nothing
  const { record } = asker
  if (record.stack === null) return { ...nothing, alone: { containers: [parts.pieceOf(record)] } }
  return {
    ...nothing,
    stacks: parts.stacks.filter((stack) => stack.base.name === record.stack),
    alone: { containers: parts.alone.containers.filter((piece) => piece.record.stack === record.stack) },
  }
}
