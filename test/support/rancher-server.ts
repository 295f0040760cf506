/**
 * The original as clients saw it, for the client's tests: shows trees that were recorded from rancher-metadata 0.10.4
 * and has its manners as far as they differ from ours: no ETag, JSON sent as text, long polls that only know
 * scalars, another `version` at every reload. Knows nothing of metadata/.
 */
import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
type Tree = { [key: string]: Json }

const recorded = JSON.parse(
  readFileSync(new URL('../fixtures/meta-0.10.4-trees.golden.json', import.meta.url), 'utf8'),
) as { readonly trees: Readonly<Record<string, Tree>> }

/** Of the recorded clients, the one that all who ask here are. */
const client = '10.42.0.11'

export class RancherServer {
  readonly #reloads = new EventEmitter().setMaxListeners(0)
  #trees: Readonly<Record<string, Tree>> = {}
  url = ''

  static async start(t: Test): Promise<RancherServer> {
    const rancher = new RancherServer()
    const server = createServer((request, response) => void rancher.#serve(request, response))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => {
      server.close()
      server.closeAllConnections()
    })
    rancher.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    return rancher
  }

  /** Loads the recorded trees, with some keys of the root being others. */
  reload(version: string, changed: Tree = {}): void {
    const own = Object.entries(recorded.trees).filter(([key]) => key.endsWith(` ${client}`))
    this.#trees = Object.fromEntries(
      own.map(([key, tree]) => [key.split(' ')[0], { ...tree, ...changed, version }]),
    )
    this.#reloads.emit('reload')
  }

  async #serve({ url = '' }: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(url, 'http://rancher')
    const [name = '', ...segments] = pathname.replace(/\/+$/, '').slice(1).split('/').map(decodeURIComponent)
    const value = searchParams.get('value')
    if (searchParams.get('wait') === 'true' && value !== null) {
      const seconds = Number(searchParams.get('maxWait') ?? 60)
      await this.#wait(() => this.#at(name, segments), value, seconds, response)
    }
    if (response.destroyed) return
    const found = this.#at(name, segments)
    response.setHeader('Content-Type', 'text/plain; charset=utf-8')
    if (found !== undefined) response.end(JSON.stringify(found))
    else {
      const message = name in this.#trees ? 'Not found' : 'Invalid version'
      response.writeHead(404).end(`${JSON.stringify({ code: 404, message, type: 'error' })}\n`)
    }
  }

  /** Scalars are compared as text; anything else is never what the client has. */
  async #wait(
    at: () => Json | undefined,
    value: string,
    seconds: number,
    response: ServerResponse,
  ): Promise<void> {
    const isSame = (): boolean => {
      const found = at()
      return found === undefined || (typeof found !== 'object' && String(found) === value)
    }
    const ended = AbortSignal.any([AbortSignal.timeout(seconds * 1000)])
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (isSame() && !ended.aborted && !response.destroyed) return
        this.#reloads.off('reload', look)
        resolve()
      }
      this.#reloads.on('reload', look)
      ended.addEventListener('abort', look)
      response.on('close', look)
      look()
    })
  }

  #at(name: string, segments: readonly string[]): Json | undefined {
    let value: Json | undefined = this.#trees[name]
    for (const segment of segments) {
      if (Array.isArray(value)) {
        const named = (item: Json): boolean => [Object(item).name, Object(item).uuid].includes(segment)
        value = /^\d+$/.test(segment) ? value[Number(segment)] : value.find(named)
      } else if (typeof value === 'object' && value !== null) value = value[segment]
      else return undefined
    }
    return value
  }
}
