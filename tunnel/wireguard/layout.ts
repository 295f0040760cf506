/**
 * Values as bytes: small codecs that are put together to larger ones. Little endian, no padding, one encoding for
 * each value; `decodeWhole` throws a RangeError for whatever is not exactly one encoding, however it was made.
 */
export interface Codec<T> {
  write(value: T, into: Sink): void
  read(from: Source): T
}

/** Bytes that grow; what was outgrown is wiped, since it may be a key. */
export class Sink {
  #bytes = new Uint8Array(4096)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  put(bytes: Uint8Array): void {
    this.#room(bytes.length)
    this.#bytes.set(bytes, this.#length - bytes.length)
  }

  u8(value: number): void {
    this.#room(1).setUint8(this.#length - 1, value)
  }

  u32(value: number): void {
    this.#room(4).setUint32(this.#length - 4, value, true)
  }

  u64(value: bigint): void {
    this.#room(8).setBigUint64(this.#length - 8, value, true)
  }

  f64(value: number): void {
    this.#room(8).setFloat64(this.#length - 8, value, true)
  }

  /** What was written; the sink is empty afterwards. */
  finish(): Uint8Array<ArrayBuffer> {
    const whole = this.#bytes.slice(0, this.#length)
    this.#bytes.fill(0)
    this.#length = 0
    return whole
  }

  #room(length: number): DataView {
    this.#length += length
    if (this.#length > this.#bytes.length) this.#grow()
    return this.#view
  }

  #grow(): void {
    const larger = new Uint8Array(this.#length * 2)
    larger.set(this.#bytes)
    this.#bytes.fill(0)
    this.#bytes = larger
    this.#view = new DataView(larger.buffer)
  }
}

export class Source {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  /** A copy. */
  take(length: number): Uint8Array {
    const at = this.#skip(length)
    return this.#bytes.slice(at, at + length)
  }

  u8(): number {
    return this.#view.getUint8(this.#skip(1))
  }

  u32(): number {
    return this.#view.getUint32(this.#skip(4), true)
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#skip(8), true)
  }

  f64(): number {
    return this.#view.getFloat64(this.#skip(8), true)
  }

  #skip(length: number): number {
    if (length > this.left) throw new RangeError('it ends too early')
    const at = this.#at
    this.#at += length
    return at
  }
}

export function encodeWhole<T>(codec: Codec<T>, value: T): Uint8Array<ArrayBuffer> {
  const sink = new Sink()
  codec.write(value, sink)
  return sink.finish()
}

export function decodeWhole<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const source = new Source(bytes)
  const value = codec.read(source)
  if (source.left > 0) throw new RangeError('more follows')
  return value
}

export const u32: Codec<number> = {
  write: (value, into) => into.u32(value),
  read: (from) => from.u32(),
}

export const u64: Codec<bigint> = {
  write: (value, into) => into.u64(value),
  read: (from) => from.u64(),
}

/** Small integers as such: what a field once held as a fraction is boxed whenever it is passed on. */
function whole(value: number): number {
  const small = value | 0
  return small === value ? small : value
}

/** A point in time, infinite ones too. */
export const time: Codec<number> = {
  write: (value, into) => into.f64(value),
  read: (from) => {
    const value = from.f64()
    if (Number.isNaN(value) || Object.is(value, -0)) throw new RangeError('not a time')
    return whole(value)
  },
}

/** A whole number from 0 to 2^53 - 1. */
export const count: Codec<number> = {
  write: (value, into) => into.f64(value),
  read: (from) => {
    const value = from.f64()
    if (!Number.isSafeInteger(value) || value < 0 || Object.is(value, -0)) throw new RangeError('not a count')
    return whole(value)
  },
}

export const flag: Codec<boolean> = {
  write: (value, into) => into.u8(value ? 1 : 0),
  read: (from) => {
    const value = from.u8()
    if (value > 1) throw new RangeError('neither true nor false')
    return value === 1
  },
}

/** Bytes of one fixed length. */
export const bytesOf = (length: number): Codec<Uint8Array> => ({
  write: (value, into) => {
    if (value.length !== length) throw new RangeError(`not ${length} bytes`)
    into.put(value)
  },
  read: (from) => from.take(length),
})

/** Bytes of one of a few lengths, or of any length up to a limit. */
export const blob = (fits: (length: number) => boolean): Codec<Uint8Array> => ({
  write: (value, into) => {
    if (!fits(value.length)) throw new RangeError('bytes of a wrong length')
    into.u32(value.length)
    into.put(value)
  },
  read: (from) => {
    const length = from.u32()
    if (!fits(length)) throw new RangeError('bytes of a wrong length')
    return from.take(length)
  },
})

export const optional = <T>(codec: Codec<T>): Codec<T | undefined> => ({
  write: (value, into) => {
    flag.write(value !== undefined, into)
    if (value !== undefined) codec.write(value, into)
  },
  read: (from) => (flag.read(from) ? codec.read(from) : undefined),
})

/** Every item takes at least a byte, so a length that lies ends with its bytes. */
export const list = <T>(codec: Codec<T>): Codec<readonly T[]> => ({
  write: (values, into) => {
    into.u32(values.length)
    for (const value of values) codec.write(value, into)
  },
  read: (from) => {
    const values: T[] = []
    for (let left = from.u32(); left > 0; left--) values.push(codec.read(from))
    return values
  },
})

export function struct<T extends object>(fields: { readonly [Key in keyof T]-?: Codec<T[Key]> }): Codec<T> {
  const keys = Object.keys(fields) as (keyof T)[]
  return {
    write: (value, into) => {
      for (const key of keys) fields[key].write(value[key], into)
    },
    read: (from) => {
      const value: Partial<T> = {}
      for (const key of keys) value[key] = fields[key].read(from)
      return value as T
    },
  }
}
