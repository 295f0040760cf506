/**
 * `drover daemon --replace`: has the running daemon start a successor of this program's code, and waits until that one
 * answers.
 */
import { DroverError } from '../model/errors.ts'
import type { AdminClient } from './client.ts'

/** Both daemons have deadlines of their own. */
const patience = 130_000 // ms
const lookEvery = 50 // ms

interface ProcessView {
  readonly pid: number
  readonly serving: boolean
}

/** A line for the operator. */
export async function replaceDaemon(client: AdminClient): Promise<string> {
  const before = await client.get<ProcessView>('/v1/process')
  const program = [process.execPath, ...process.execArgv, process.argv[1] ?? '']
  // The predecessor may have ended the connection before its answer was read.
  await client.post('/v1/replace', { program }).catch(unlessUnreachable)
  const end = performance.now() + patience
  for (;;) {
    const now = await client.get<ProcessView>('/v1/process').catch(unlessUnreachable)
    if (now?.serving === true && now.pid !== before.pid)
      return `the daemon is process ${now.pid} now, and was ${before.pid}`
    if (performance.now() > end) throw new DroverError('DAEMON_REPLACE', 'no successor answers')
    await new Promise((resolve) => setTimeout(resolve, lookEvery))
  }
}

function unlessUnreachable(error: unknown): undefined {
  if (!(error instanceof DroverError && error.code === 'DAEMON_UNREACHABLE')) throw error
}
