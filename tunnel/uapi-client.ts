/**
 * Client of a WireGuard engine's configuration socket (UAPI): whole requests, whole answers, each with a deadline;
 * and the sight of an engine that goes away. A socket that does not answer is TUNNEL_UNAVAILABLE.
 */
import { connect } from 'node:net'
import { DroverError } from '../model/errors.ts'

/** No answer is longer than this: a thousand peers with a hundred networks each. */
const longest = 16 << 20

export interface UapiClientOptions {
  /** Milliseconds that an engine may be silent. */
  readonly deadline: number
}

export class UapiClient {
  readonly #path: string
  readonly #options: UapiClientOptions

  constructor(path: string, options: UapiClientOptions = { deadline: 5000 }) {
    this.#path = path
    this.#options = options
  }

  /** The answer to `get=1`. */
  get(): Promise<string> {
    return this.#exchange('get=1\n\n')
  }

  /** Sends settings, one per line; rejects where the engine refuses them. */
  async set(lines: readonly string[]): Promise<void> {
    const answer = await this.#exchange(`set=1\n${lines.join('\n')}\n\n`)
    if (!answer.startsWith('errno=0\n'))
      throw new DroverError('TUNNEL_UNAVAILABLE', `${this.#path} refuses a change: ${answer.trim()}`)
  }

  /** Asks a tunnel process of ours to give its tunnel to a process of this command line. */
  async replace(command: readonly string[]): Promise<void> {
    const lines = command.map((word) => `argument=${word}\n`)
    const answer = await this.#exchange(`replace=1\n${lines.join('')}\n`)
    if (answer === 'errno=0\n\n') return
    const reason = /^reason=(.*)$/m.exec(answer)?.[1] ?? answer.trim()
    throw new DroverError('TUNNEL_REPLACE', reason)
  }

  /**
   * Connects and waits for an answer: a process that dies still takes connections for a moment. Resolves with a
   * promise of the connection's end, which comes when the engine ends.
   */
  hold(signal: AbortSignal): Promise<{ readonly ended: Promise<void> }> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.#path)
      const ended = new Promise<void>((end) => socket.once('close', () => end()))
      socket.setTimeout(this.#options.deadline, () => socket.destroy())
      socket.once('data', () => {
        socket.setTimeout(0)
        resolve({ ended })
      })
      socket.once('error', (cause) => reject(this.#unavailable(cause)))
      socket.once('close', () => reject(this.#unavailable('it does not answer')))
      socket.resume()
      socket.write('get=1\n\n')
      const give = (): void => void socket.destroy()
      signal.addEventListener('abort', give, { once: true })
      socket.once('close', () => signal.removeEventListener('abort', give))
    })
  }

  #exchange(request: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.#path)
      let answer = ''
      socket.setTimeout(this.#options.deadline, () => socket.destroy(this.#unavailable('it does not answer')))
      socket.once('error', (cause) => reject(cause instanceof DroverError ? cause : this.#unavailable(cause)))
      socket.once('close', () => reject(this.#unavailable('it hung up')))
      socket.on('data', (chunk) => {
        answer += String(chunk)
        if (answer.length > longest) return void socket.destroy(this.#unavailable('it does not stop'))
        if (!answer.endsWith('\n\n')) return
        resolve(answer)
        socket.destroy()
      })
      socket.write(request)
    })
  }

  #unavailable(cause: unknown): DroverError {
    return new DroverError('TUNNEL_UNAVAILABLE', this.#path, { cause })
  }
}
