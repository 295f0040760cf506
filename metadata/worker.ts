/**
 * The metadata thread: composition root of HTTP and rendering, so that pollers delay neither DNS nor control.
 * It is told changes of the environment and answers from the newest state; it keeps nothing that a restart loses.
 */
import { networkInterfaces } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { DroverError, reasonOf } from '../model/errors.ts'
import type { Clock } from '../model/ports.ts'
import { instant, millis } from '../model/time.ts'
import { Answers } from './answer.ts'
import type { Delta } from './delta.ts'
import { LiveTree } from './live.ts'
import type { FromWorker, ToWorker, WorkerOptions } from './messages.ts'
import { MetadataServer } from './server.ts'

const systemClock: Clock = {
  now: () => instant(Date.now()),
  boot: () => millis(performance.now()),
  after(delay, action) {
    const timer = setTimeout(action, delay)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}

/** This machine's addresses, read again at most once a second. */
function ownAddresses(clock: Clock): (address: string) => boolean {
  let known = new Set<string>()
  let readAt = -1000
  return (address) => {
    if (address.startsWith('127.') || address === '::1') return true
    if (clock.boot() - readAt >= 1000) {
      readAt = clock.boot()
      known = new Set(
        Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map((one) => one.address)),
      )
    }
    return known.has(address)
  }
}

async function main({ address, port }: WorkerOptions): Promise<void> {
  const parent = parentPort
  if (parent === null) throw new DroverError('USAGE', 'metadata/worker.ts is started by the daemon')
  const tell = (message: FromWorker): void => parent.postMessage(message)
  const live = new LiveTree({ isOwn: ownAddresses(systemClock) })
  const answers = new Answers({ source: live, texts: live.pieces.texts })
  const server = new MetadataServer({ clock: systemClock, answers })
  const stats = () => ({ revision: live.revision, version: live.version, ...server.stats() })
  const show = (delta: Delta): void => {
    try {
      live.apply(delta)
      server.wake()
    } catch (err) {
      tell({ is: 'failed', revision: delta.revision, err })
    }
  }
  parent.on('message', (message: ToWorker) => {
    if (message.is === 'delta') show(message.delta)
    else if (message.is === 'stats') tell({ is: 'stats', stats: stats() })
    else void server.close().finally(() => parent.close())
  })
  try {
    tell({ is: 'listening', port: await server.listen(address, port) })
  } catch (error) {
    tell({ is: 'refused', why: reasonOf(error) })
    parent.close()
  }
}

await main(workerData as WorkerOptions)
