/**
 * Client of the daemon's admin socket: one request, one value: JSON, or text where the daemon sends
 * text. A daemon that does not answer is one clear line (DAEMON_UNREACHABLE).
 */
import { request } from 'node:http'
import { createInterface } from 'node:readline'
import { DroverError, isErrorCode, reasonOf } from '../model/errors.ts'

export class AdminClient {
  readonly #socket: string

  constructor(socket: string) {
    this.#socket = socket
  }

  get<T>(path: string): Promise<T> {
    return this.#call('GET', path) as Promise<T>
  }

  post<T>(path: string, body: object): Promise<T> {
    return this.#call('POST', path, JSON.stringify(body)) as Promise<T>
  }

  /** Calls with each value that the daemon tells, until it ends. */
  follow<T extends object>(path: string, each: (value: T) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.#socket, path }, (response) => {
        if (response.statusCode !== 200) return void this.get(path).catch(reject)
        const lines = createInterface({ input: response })
        // The first one only says that it has begun.
        lines.on('line', (line) => {
          if (line !== '{}') each(JSON.parse(line) as T)
        })
        response.once('error', (cause) => reject(this.#unreachable(cause)))
        lines.once('close', resolve)
      })
      call.on('error', (cause) => reject(this.#unreachable(cause)))
      call.end()
    })
  }

  #call(method: string, path: string, body?: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/json' }
      const call = request({ socketPath: this.#socket, method, path, headers }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          try {
            const text = Buffer.concat(chunks).toString()
            const isText = response.headers['content-type']?.startsWith('text/plain') === true
            resolve(isText ? text : answerOf(response.statusCode ?? 0, text))
          } catch (error) {
            reject(error)
          }
        })
      })
      call.on('error', (cause) => reject(this.#unreachable(cause)))
      call.end(body)
    })
  }

  #unreachable(cause: NodeJS.ErrnoException): DroverError {
    if (cause.code === 'EACCES') return new DroverError('NOT_ROOT', this.#socket, { cause })
    return new DroverError('DAEMON_UNREACHABLE', `${this.#socket}: ${reasonOf(cause)}`, { cause })
  }
}

/** What the operator can mend is thrown as the daemon threw it; the rest is for its log. */
function answerOf(status: number, text: string): unknown {
  const value = JSON.parse(text) as { error?: string; code?: string; detail?: string }
  if (status < 400) return value
  const { error = text, code = '', detail = '' } = value
  throw isErrorCode(code) ? new DroverError(code, detail) : new DroverError('DAEMON_REFUSED', error)
}
