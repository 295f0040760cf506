/**
 * How questions ended, for metrics. Pure.
 */
export const results = ['local', 'engine', 'cached', 'forwarded', 'failed', 'refused', 'dropped'] as const
export type Result = (typeof results)[number]

/** Before the first question. */
export const noResults = (): Record<Result, number> => ({
  local: 0,
  engine: 0,
  cached: 0,
  forwarded: 0,
  failed: 0,
  refused: 0,
  dropped: 0,
})
