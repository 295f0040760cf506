/**
 * The sum of the Internet checksum as a WebAssembly function of a few instructions: SIMD adds eight 16-bit words at
 * once, a fifth of what JavaScript needs. The module is written here by its opcodes (WebAssembly Core 2.0, section 5)
 * and works in the memory that it is given; an access outside of it traps.
 */
import type { Sum } from './checksum.ts'

/** The part of the engine's interface that is used here; the compiler's library has it only with a browser's. */
declare const WebAssembly: {
  readonly Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object
  readonly Instance: new (module: object, imports: object) => { readonly exports: { readonly s: Sum } }
}

const i32 = 0x7f
const v128 = 0x7b
const simd = 0xfd
/** Local variables: the two parameters, then `total`, then four sums of 32 bits. */
const [at, length, total, lanes] = [0, 1, 2, 3]

const op = {
  get: (index: number) => [0x20, index],
  set: (index: number) => [0x21, index],
  number: (value: number) => [0x41, ...signed(value)],
  atLeast: 0x4f, // i32.ge_u
  add: 0x6a,
  subtract: 0x6b,
  load8: [0x2d, 0, 0],
  load16: [0x2f, 0, 0],
  load128: (offset: number) => [simd, 0x00, 0, offset],
  addPairs: [simd, 0x7f], // i32x4.extadd_pairwise_i16x8_u
  addLanes: [simd, 0xae, 0x01], // i32x4.add
  lane: (index: number) => [simd, 0x1b, index],
  loop: [0x03, 0x40],
  when: [0x04, 0x40],
  again: [0x0c, 1],
  end: 0x0b,
} as const

/** LEB128 of numbers below 8,192. */
const signed = (value: number): readonly number[] =>
  value < 64 ? [value] : [(value & 127) | 128, value >> 7]
const unsigned = (value: number): readonly number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >> 7)]
const section = (id: number, body: readonly number[]) => [id, ...unsigned(body.length), ...body]

/** While `length` is at least `step`: the code, then `at` and `length` go on by `step`. */
const each = (step: number, code: readonly number[]): readonly number[] => [
  ...op.loop,
  ...op.get(length),
  ...op.number(step),
  op.atLeast,
  ...op.when,
  ...code,
  ...op.get(at),
  ...op.number(step),
  op.add,
  ...op.set(at),
  ...op.get(length),
  ...op.number(step),
  op.subtract,
  ...op.set(length),
  ...op.again,
  op.end,
  op.end,
]

const vector = (offset: number): readonly number[] => [
  ...op.get(lanes),
  ...op.get(at),
  ...op.load128(offset),
  ...op.addPairs,
  ...op.addLanes,
  ...op.set(lanes),
]

const scalar = (load: readonly number[]): readonly number[] => [
  ...op.get(total),
  ...op.get(at),
  ...load,
  op.add,
  ...op.set(total),
]

const lane = (index: number): readonly number[] => [...op.get(lanes), ...op.lane(index), op.add]

const body = [
  ...[2, 1, i32, 1, v128], // two groups of locals
  ...each(64, [0, 16, 32, 48].flatMap(vector)),
  ...each(16, vector(0)),
  ...each(2, scalar(op.load16)),
  ...each(1, scalar(op.load8)),
  ...op.get(total),
  ...[0, 1, 2, 3].flatMap(lane),
  op.end,
]

const moduleOf = (pages: number): Uint8Array<ArrayBuffer> =>
  Uint8Array.of(
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 2, i32, i32, 1, i32]),
    ...section(2, [1, 1, 0x65, 1, 0x6d, 2, 1, ...unsigned(pages), ...unsigned(pages)]),
    ...section(3, [1, 0]),
    ...section(7, [1, 1, 0x73, 0, 0]),
    ...section(10, [1, ...unsigned(body.length), ...body]),
  )

const pageSize = 65_536

/** Memory of `size` bytes, and the sum over it; undefined where this engine has no SIMD. */
export function summedMemory(size: number): { readonly buffer: ArrayBuffer; readonly sum: Sum } | undefined {
  try {
    const pages = Math.ceil(size / pageSize)
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleOf(pages)), {
      e: { m: memory },
    })
    return { buffer: memory.buffer, sum: exports.s }
  } catch {
    return undefined
  }
}
