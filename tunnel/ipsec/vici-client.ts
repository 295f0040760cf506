/**
 * Client of charon's control socket (VICI): one connection, one request at a time, each with a deadline; events come
 * beside them. A socket that does not answer is IPSEC_UNAVAILABLE, an answer that says no IPSEC_REFUSED. A connection
 * that ended stays ended: charon has gone, and what it knew with it.
 */
import { connect, type Socket } from 'node:net'
import { DroverError } from '../../model/errors.ts'
import { isList, type ViciSection } from './vici-message.ts'
import { encodePacket, type ViciPacket, ViciReader } from './vici-packet.ts'

/** What charon lists comes as events of another name. */
const streams = {
  'list-sas': 'list-sa',
  'list-conns': 'list-conn',
  'list-certs': 'list-cert',
} as const
export type Listing = keyof typeof streams

export interface Vici {
  /** The answer to a command; rejects with IPSEC_REFUSED where it says no. */
  request(command: string, message?: ViciSection): Promise<ViciSection>
  /** What a listing command streams, in its order. */
  list(command: Listing, message?: ViciSection): Promise<readonly ViciSection[]>
  /** Calls `heard` for each event of these names from now on. */
  subscribe(names: readonly string[], heard: (name: string, message: ViciSection) => void): Promise<void>
  /** Resolves when the connection ends, whoever ends it. */
  readonly ended: Promise<void>
  close(): void
}

export interface ViciClientOptions {
  /** Milliseconds that charon may be silent. */
  readonly deadline: number
}

const silence = 'it does not answer'
/**
 * A deadline is so many pauses one after the other, between which this process looks for what has come: while it is held
 * up itself, one of them ends, and an answer that waits to be read is read.
 */
const pauses = 4

/** Whether an error of this client says that charon took a question and was silent: it hangs, or is very busy. */
export const isSilence = (error: unknown): boolean => error instanceof DroverError && error.cause === silence

interface Waiting {
  readonly packet: ViciPacket
  readonly resolve: (answer: ViciPacket) => void
  readonly reject: (error: unknown) => void
}

export class ViciClient implements Vici {
  readonly ended: Promise<void>
  readonly #socket: Socket
  readonly #path: string
  readonly #reader = new ViciReader()
  readonly #queue: Waiting[] = []
  #listed: { readonly event: string; readonly messages: ViciSection[] } | undefined
  #quiet = 0
  #heard: (name: string, message: ViciSection) => void = () => {}
  #failure: unknown
  #lists: Promise<unknown> = Promise.resolve()

  private constructor(socket: Socket, path: string, { deadline }: ViciClientOptions) {
    this.#socket = socket
    this.#path = path
    this.ended = new Promise((resolve) => socket.once('close', () => resolve()))
    socket.on('data', (bytes: Buffer) => this.#read(bytes))
    socket.on('error', (cause) => this.#fail(cause))
    socket.once('close', () => this.#fail('it hung up'))
    socket.on('timeout', () => this.#pause(deadline))
    socket.setTimeout(deadline / pauses)
  }

  /** Connects and asks for the version: a charon that starts or dies takes connections and does not answer. */
  static async open(path: string, options: ViciClientOptions = { deadline: 10_000 }): Promise<ViciClient> {
    const client = new ViciClient(connect(path), path, options)
    try {
      await client.request('version')
      return client
    } catch (error) {
      client.close()
      throw error
    }
  }

  async request(command: string, message: ViciSection = {}): Promise<ViciSection> {
    const answer = await this.#ask({ is: 'request', name: command, message })
    if (answer.is !== 'response') throw new DroverError('IPSEC_REFUSED', `charon has no command ${command}`)
    const { success, errmsg } = answer.message
    if (success === 'no') throw new DroverError('IPSEC_REFUSED', `${command}: ${errmsg}`)
    return answer.message
  }

  list(command: Listing, message: ViciSection = {}): Promise<readonly ViciSection[]> {
    const turn = this.#lists.then(async () => {
      const event = streams[command]
      const listed = { event, messages: [] }
      this.#listed = listed
      try {
        await this.#ask({ is: 'register', name: event })
        await this.request(command, message)
        await this.#ask({ is: 'unregister', name: event })
      } finally {
        this.#listed = undefined
      }
      return listed.messages
    })
    this.#lists = turn.catch(() => undefined)
    return turn
  }

  async subscribe(
    names: readonly string[],
    heard: (name: string, message: ViciSection) => void,
  ): Promise<void> {
    this.#heard = heard
    for (const name of names) {
      const answer = await this.#ask({ is: 'register', name })
      if (answer.is !== 'confirm') throw new DroverError('IPSEC_REFUSED', `charon has no event ${name}`)
    }
  }

  close(): void {
    this.#socket.destroy()
  }

  #ask(packet: ViciPacket): Promise<ViciPacket> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure)
      this.#queue.push({ packet, resolve, reject })
      if (this.#queue.length === 1) this.#send(packet)
    })
  }

  /** Charon answers in turn and without a number, so the next question waits for the answer to the last. */
  #send(packet: ViciPacket): void {
    this.#quiet = 0
    this.#socket.write(encodePacket(packet))
  }

  #pause(deadline: number): void {
    if (this.#queue.length === 0) return
    this.#quiet += 1
    if (this.#quiet === pauses) this.#fail(silence)
    else this.#socket.setTimeout(deadline / pauses)
  }

  #read(bytes: Uint8Array): void {
    this.#quiet = 0
    try {
      for (const packet of this.#reader.push(bytes)) this.#take(packet)
    } catch (error) {
      this.#fail(error)
    }
  }

  #take(packet: ViciPacket): void {
    if (packet.is === 'event') {
      if (packet.name === this.#listed?.event) this.#listed.messages.push(packet.message)
      else this.#heard(packet.name, packet.message)
      return
    }
    this.#queue.shift()?.resolve(packet)
    const [next] = this.#queue
    if (next !== undefined) this.#send(next.packet)
  }

  #fail(cause: unknown): void {
    this.#failure ??=
      cause instanceof DroverError ? cause : new DroverError('IPSEC_UNAVAILABLE', this.#path, { cause })
    for (const { reject } of this.#queue.splice(0)) reject(this.#failure)
    this.#socket.destroy()
  }
}

/** The names in a list of an answer, such as that of `get-conns`. */
export function namesIn(answer: ViciSection, list: string): readonly string[] {
  const names = answer[list]
  return isList(names) ? names : []
}
