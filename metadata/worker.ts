/**
 * The metadata thread: composition root of HTTP and rendering, so that pollers delay neither DNS nor control.
 * It is told changes of the environment and answers from the newest state; it keeps nothing that a restart loses.
 */
import { flushCompileCache } from 'node:module'
import { networkInterfaces, setPriority } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { parentPort, workerData } from 'node:worker_threads'
import { Libc, makeArena } from '../linux/ffi.ts'
import { bindListener } from '../linux/listener.ts'
import { DroverError, reasonOf } from '../model/errors.ts'
import { parseIpv4 } from '../model/ip.ts'
import type { Clock } from '../model/ports.ts'
import { instant, millis } from '../model/time.ts'
import { Answers } from './answers.ts'
import type { Delta } from './delta.ts'
import { Proxies } from './forwarded.ts'
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

const ownAddresses = (): ReadonlySet<string> =>
  new Set(Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)))

/** This machine's addresses, read again every second; says when they are others than before. */
class OwnAddresses {
  #known = ownAddresses()

  has(address: string): boolean {
    return address.startsWith('127.') || address === '::1' || this.#known.has(address)
  }

  watch(onChange: () => void): void {
    const again = (): void => {
      const found = ownAddresses()
      if (found.size === this.#known.size && [...found].every((address) => this.#known.has(address))) return
      this.#known = found
      onChange()
    }
    setInterval(again, 1000).unref()
  }
}

/** DNS and the control loop come first where processors are short: on Linux this is the thread's priority alone. */
const niceness = 5

function bound(address: string, port: number): number {
  const parsed = parseIpv4(address)
  if (parsed === undefined) throw new DroverError('USAGE', `${address} is no IPv4 address`)
  const fd = bindListener(new Libc(makeArena(4096)), parsed, port)
  if (fd < 0) throw new DOMException(`bind ${getSystemErrorName(fd)}`, 'NetworkError')
  return fd
}

async function main(options: WorkerOptions): Promise<void> {
  const { address, port, inherited, connections, trustedProxies, scope } = options
  const parent = parentPort
  if (parent === null) throw new DroverError('USAGE', 'metadata/worker.ts is started by the daemon')
  setPriority(0, niceness)
  const tell = (message: FromWorker): void => parent.postMessage(message)
  const own = new OwnAddresses()
  const live = new LiveTree({ isOwn: (asking) => own.has(asking) }, { scope })
  own.watch(() => live.reconsider())
  const answers = new Answers({ source: live, chunks: live.pieces.chunks })
  const proxies = new Proxies({ trusted: trustedProxies })
  const server = new MetadataServer({ clock: systemClock, answers, proxies }, { connections })
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
    const fd = inherited ?? bound(address, port)
    tell({ is: 'listening', port: await server.listen(fd), fd })
    flushCompileCache()
  } catch (error) {
    tell({ is: 'refused', why: reasonOf(error) })
    parent.close()
  }
}

await main(workerData as WorkerOptions)
