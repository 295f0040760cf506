/**
 * Preloaded into both threads of an engine (`node --import`): counts the collections of the packet thread, which
 * never turns its event loop, with V8's own profiler of them. With each status that the thread gives it writes
 * what it counted since the last one, and its memory after a full collection, to DROVER_BENCH_OBSERVE/PID.json.
 */
import { writeFileSync } from 'node:fs'
import { GCProfiler, getHeapStatistics } from 'node:v8'
import { isMainThread, parentPort } from 'node:worker_threads'

export interface Observation {
  readonly scavenges: number
  /** All other collections. */
  readonly others: number
  /** Bytes that live in V8's heap, and outside of it on behalf of it. */
  readonly heap: number
  readonly external: number
}

function observe(folder: string, port: { postMessage: (message: unknown) => void }): void {
  const post = port.postMessage.bind(port)
  let profiler = new GCProfiler()
  profiler.start()
  const observation = (): Observation => {
    const kinds = profiler.stop()?.statistics.map(({ gcType }) => gcType) ?? []
    globalThis.gc?.()
    const { used_heap_size: heap, external_memory: external } = getHeapStatistics()
    profiler = new GCProfiler()
    profiler.start()
    const scavenges = kinds.filter((kind) => kind === 'Scavenge').length
    return { scavenges, others: kinds.length - scavenges, heap, external }
  }
  port.postMessage = (message) => {
    if ((message as { readonly is?: string }).is === 'status')
      writeFileSync(`${folder}/${process.pid}.json`, JSON.stringify(observation()))
    post(message)
  }
}

const folder = process.env.DROVER_BENCH_OBSERVE
if (!isMainThread && parentPort !== null && folder !== undefined) observe(folder, parentPort)
