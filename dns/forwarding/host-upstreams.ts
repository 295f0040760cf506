/**
 * Reads the host's resolver configuration and notices when it changes.
 */
import { readFile } from 'node:fs/promises'
import type { Clock, Timer } from '../../model/ports.ts'
import { seconds } from '../../model/time.ts'
import { resolvedConf, type Upstream, upstreamsOf } from './upstreams.ts'

const every = seconds(5)

export interface HostUpstreams {
  close(): void
}

export interface HostUpstreamsOptions {
  readonly upstreams: readonly string[]
  readonly resolvConf: string
  readonly own: readonly string[]
  readonly port: number
}

/** Calls `use` with the upstreams once before it returns, and again whenever they are others. */
export async function followHostUpstreams(
  { clock, use }: { readonly clock: Clock; readonly use: (upstreams: readonly Upstream[]) => void },
  options: HostUpstreamsOptions,
): Promise<HostUpstreams> {
  let last: string | undefined
  let timer: Timer | undefined
  let closed = false
  const look = async (): Promise<void> => {
    const found = await read(options)
    const text = JSON.stringify(found)
    if (closed) return
    if (text !== last) use(found)
    last = text
    timer = clock.after(every, () => void look())
  }
  await look()
  return {
    close: () => {
      closed = true
      timer?.cancel()
    },
  }
}

async function read({
  upstreams,
  resolvConf,
  own,
  port,
}: HostUpstreamsOptions): Promise<readonly Upstream[]> {
  const [conf, resolved] = await Promise.all([textOf(resolvConf), textOf(resolvedConf)])
  return upstreamsOf({ configured: upstreams, resolvConf: conf, resolved, own, ownPort: port })
}

/** A file that is not there says nothing. */
const textOf = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '')
