/**
 * Bodies in gzip's format (RFC 1952), put together from chunks that are compressed each by itself (RFC 1951, blocks that
 * end at a byte): a chunk that many bodies share is compressed once. One after the other, because the threads that do it
 * are those of the whole process.
 */
import { promisify } from 'node:util'
import { constants, crc32, deflateRaw } from 'node:zlib'
import type { Body } from './answer.ts'

const deflate = promisify(deflateRaw)

export interface Zipped {
  readonly content: readonly Buffer[]
  readonly length: number
}

/** RFC 1952 2.3: deflate, no flags, no time, unknown system. */
const head = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255])
/** RFC 1951 3.2.6: a last block with nothing in it. */
const last = Buffer.from([3, 0])

export class Gzip {
  readonly #bodies = new WeakMap<Body, Promise<Zipped>>()
  readonly #chunks = new WeakMap<Buffer, Buffer>()
  #end: Promise<unknown> = Promise.resolve()

  of(body: Body): Promise<Zipped> {
    const known = this.#bodies.get(body)
    if (known !== undefined) return known
    const made = this.#end.then(() => this.#zip(body))
    this.#end = made.catch(() => undefined)
    this.#bodies.set(body, made)
    return made
  }

  async #zip({ content, length: size }: Body): Promise<Zipped> {
    const chunks = typeof content === 'string' ? [Buffer.from(content)] : content
    const compressed: Buffer[] = [head]
    let check = 0
    for (const chunk of chunks) {
      check = crc32(chunk, check)
      compressed.push(await this.#compressed(chunk))
    }
    const tail = Buffer.alloc(8)
    tail.writeUInt32LE(check, 0)
    tail.writeUInt32LE(size % 2 ** 32, 4)
    // One piece: it is small, and many pieces cost more to send than to join.
    const joined = Buffer.concat([...compressed, last, tail])
    return { content: [joined], length: joined.length }
  }

  async #compressed(chunk: Buffer): Promise<Buffer> {
    const known = this.#chunks.get(chunk)
    if (known !== undefined) return known
    const made = await deflate(chunk, { level: 3, finishFlush: constants.Z_SYNC_FLUSH })
    this.#chunks.set(chunk, made)
    return made
  }
}
