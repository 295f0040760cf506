/**
 * What the disk refuses waits: it was not done, and whoever wanted it finds it again with the next view or look.
 */
import { mayPass, reasonOf } from '../model/errors.ts'
import type { Log, Meter } from '../model/ports.ts'
import type { Answer } from './requests.ts'

/** Whether the disk took it; throws for what no room mends. */
export function diskTakes(
  { log, meter }: { readonly log: Log; readonly meter: Meter },
  write: () => void,
): boolean {
  try {
    write()
    return true
  } catch (error) {
    if (!mayPass(error)) throw error
    meter.count('drover_failures_total', 1, { what: 'journal' })
    log.debug('the journal of addresses waits', { why: error.line })
    return false
  }
}

/** What a container hears whose address could not be had for an error. */
export function failed(error: unknown, log: Log): Answer {
  if (mayPass(error)) return { is: 'waiting', why: error.line }
  log.error('an address could not be journalled', { err: error })
  return { is: 'waiting', why: `the address could not be journalled: ${reasonOf(error)}` }
}
