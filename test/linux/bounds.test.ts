/**
 * No foreign function is ever given memory that is not the arena's. koffi is replaced by a spy before the files of
 * linux/ that use it are loaded: every method of every class there is called with sane and insane numbers, and what
 * would reach C is checked instead of called. A new method is covered by itself; a new class must be told how it
 * is made, a foreign function whose prototype does not tell its lengths must be told them.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import koffi from 'koffi'
import { test } from 'tap'
import type { Arena } from '../../linux/arena.ts'
import { SeededRandom } from '../support/ports.ts'
import { fuzzRounds } from '../support/wireguard.ts'

type Given = readonly number[]
type Range = readonly [number | undefined, number | undefined]

interface Foreign {
  readonly name: string
  readonly types: readonly string[]
  calls: number
}

const size = 1 << 16
/** What stands for a pointer that C made itself. */
const handle = 0x7000
const seed = Number(process.env.DROVER_SEED ?? 5)
const random = new SeededRandom(seed)
const functions: Foreign[] = []
const violations: string[] = []
let base = 0

/** Bytes per unit of the number that follows an address, where that is not one. */
const units: Readonly<Record<string, number>> = { writev: 16, readv: 16, poll: 8, recvmmsg: 64, sendmmsg: 64 }

/** The memory of functions whose prototypes do not tell it. */
const ranges: Readonly<Record<string, (given: Given) => readonly Range[]>> = {
  clock_gettime: (given) => [[given[1], 16]],
  getsockname: ([, name, length = 0]) => [
    [name, arena.view.getUint32(length - base, true)],
    [length, 4],
  ],
  EVP_CIPHER_CTX_ctrl: (given) => [[given[3], 16]],
  EVP_CipherInit_ex: ([, , , key, nonce]) => [
    [key, 32],
    [nonce, 12],
  ],
  EVP_CipherFinal_ex: ([, out, length]) => [
    [out, 16],
    [length, 4],
  ],
  ChaCha20_ctr32: ([out, text, length, key, counter]) => [
    [out, length],
    [text, length],
    [key, 32],
    [counter, 16],
  ],
  Poly1305_Init: ([context, key]) => [
    [context, 1],
    [key, 32],
  ],
  Poly1305_Update: ([context, data, length]) => [
    [context, 1],
    [data, length],
  ],
  Poly1305_Final: ([context, tag]) => [
    [context, 1],
    [tag, 16],
  ],
}

const isAddress = (type = ''): boolean =>
  type === 'uint64_t' || (type.includes('*') && !type.includes('char'))
const isCount = (type = ''): boolean => ['int', 'uint', 'ulong', 'size_t', 'int64_t'].includes(type)
const takesMemory = ({ types }: Foreign): boolean => types.some(isAddress)

/** Each address with the number that comes after it. */
function rangesOf({ name, types }: Foreign, given: Given): readonly Range[] {
  const told = ranges[name]
  if (told !== undefined) return told(given)
  return types.flatMap((type, at): readonly Range[] => {
    const count = types.findIndex((other, index) => index > at && isCount(other))
    const length = count === -1 ? 1 : (given[count] ?? 0) * (units[name] ?? 1)
    return isAddress(type) ? [[given[at], length]] : []
  })
}

function look(foreign: Foreign, given: Given): void {
  foreign.calls++
  for (const [address = Number.NaN, length = Number.NaN] of rangesOf(foreign, given)) {
    if (address === 0 || address === handle) continue
    const sound = Number.isInteger(address) && Number.isInteger(length) && length >= 0
    if (sound && address >= base && address + length <= base + size) continue
    violations.push(`${foreign.name}: ${length} bytes at ${address - base} of the arena`)
  }
}

function answerOf({ name }: Foreign): number {
  if (name.endsWith('_size')) return 256
  if (name === 'dlsym') return handle
  return /^EVP_(?!Cipher|CIPHER_CTX_ctrl)|_new$/.test(name) ? handle : 1
}

function foreignOf(prototype: string): Foreign {
  const [, name = '', list = ''] = /([A-Za-z0-9_]+)\((.*)\)$/.exec(prototype) ?? []
  return { name, types: list.split(',').map((type) => type.trim()), calls: 0 }
}

const load = koffi.load(null)
const makesArenas = /^(malloc|mmap|mprotect|memfd_create|ftruncate|memmove)$/
Object.assign(koffi, {
  load: () => ({
    func: (prototype: string) => {
      const foreign = foreignOf(prototype)
      if (makesArenas.test(foreign.name)) return load.func(prototype)
      functions.push(foreign)
      return (...given: Given) => {
        look(foreign, given)
        return answerOf(foreign)
      }
    },
  }),
})

/** The functions that machine code calls in turn, and how many of the table's words each is given. */
const inTurn: Readonly<Record<string, number>> = {
  ChaCha20_ctr32: 5,
  Poly1305_Init: 2,
  Poly1305_Update: 3,
  Poly1305_Final: 2,
}
Object.assign(koffi, {
  decode: () => {
    const named = Object.entries(inTurn).map(([name, words]) => ({
      words,
      foreign: { name, types: [], calls: 0 },
    }))
    return (table: number) => {
      let at = table - base
      for (const { words, foreign } of named) {
        const given = Array.from({ length: words }, (_, index) =>
          arena.view.getBigUint64(at + 8 * index, true),
        )
        look(foreign, given.map(Number))
        at += 8 * words
      }
    }
  },
})

const folder = join(import.meta.dirname, '../../linux')
const files = readdirSync(folder).filter((file) =>
  readFileSync(join(folder, file), 'utf8').includes("'koffi'"),
)
const exported: Record<string, unknown> = {}
for (const file of files) Object.assign(exported, await import(join(folder, file)))

const call = (name: string, ...given: readonly unknown[]): unknown =>
  typeof exported[name] === 'function' ? Reflect.apply(exported[name], undefined, given) : undefined
const made = (name: string, ...given: readonly unknown[]): unknown =>
  typeof exported[name] === 'function' ? Reflect.construct(exported[name], given) : undefined

const arena = call('makeArena', size) as Arena
base = arena.address(0, 0)
const room = arena.take(1024)

/** How the classes are made. */
const makers: Readonly<Record<string, () => unknown>> = {
  Libc: () => made('Libc', arena),
  EvpContext: () => made('EvpContext', arena, room, room + 128, 'seal'),
  OpensslPrimitives: () => call('opensslPrimitives', arena),
  FusedPrimitives: () => call('fusedPrimitives', arena),
  OpensslCurve: () => call('opensslCurve', arena),
}

interface Method {
  readonly name: string
  readonly parameters: readonly string[]
  readonly run: (...given: readonly unknown[]) => unknown
}

function methodsOf(one: unknown): readonly Method[] {
  const all = Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(one)))
  return all.flatMap(([name, { value }]) => {
    if (name === 'constructor' || name === 'close' || typeof value !== 'function') return []
    const list = /\(([^)]*)\)/.exec(String(value))?.[1] ?? ''
    const parameters = list.split(',').map((each) => each.trim().split(/[ =]/)[0] ?? '')
    return [{ name, parameters: parameters.filter((each) => each !== ''), run: value.bind(one) }]
  })
}

const odd = [-1, -8, -15, -16, -17, -64, 0.5, size, size - 1, size - 8, size + 1, 2 ** 31, 2 ** 32, 2 ** 53]
const unreal = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -(2 ** 53)]
const picked = (values: readonly number[]): number => values[random.below(values.length)] ?? 0

function numberFor(): number {
  const kind = random.below(8)
  if (kind < 4) return random.below(64)
  if (kind < 6) return random.below(size + 64)
  return picked(kind === 6 ? odd : unreal)
}

/** How many of the calls were refused. */
function refusalsOf({ parameters, run }: Method, rounds: number): number {
  let refused = 0
  for (let round = rounds; round > 0; round--) {
    const given = parameters.map((each) => (each === 'path' ? '/nowhere' : numberFor()))
    try {
      run(...given)
    } catch (thrown) {
      if (!(thrown instanceof RangeError)) throw thrown
      refused++
    }
  }
  return refused
}

const classes = Object.keys(exported).filter((name) => /^class /.test(String(exported[name])))

test(`no method gives C memory that is not the arena’s (DROVER_SEED=${seed})`, async (t) => {
  t.ok(classes.length >= 2)
  for (const type of classes) {
    const maker = makers[type]
    if (maker === undefined) return void t.fail(`say how a ${type} is made`)
    for (const method of methodsOf(maker())) {
      const refused = refusalsOf(method, fuzzRounds(20_000) / 5)
      const name = `${type}.${method.name}(${method.parameters.join(', ')}), ${refused} refused`
      t.strictSame(violations.splice(0).slice(0, 3), [], name)
      if (method.parameters.some((each) => /^(at|to|from|target)$|At$/.test(each))) t.ok(refused > 100, name)
    }
  }
})

test('every foreign function that takes memory was reached', async (t) => {
  const memory = functions.filter(takesMemory)
  t.ok(memory.length > 15)
  const missed = memory.filter(({ calls, name }) => calls === 0 && !name.endsWith('_free'))
  t.strictSame(
    missed.map(({ name }) => name),
    [],
  )
})

test('pointers inside of the arena are written by the same check', async (t) => {
  let refused = 0
  for (let round = fuzzRounds(20_000); round > 0; round--) {
    const [target, length] = [numberFor(), numberFor()]
    const sound = Number.isInteger(target) && Number.isInteger(length) && target >= 0 && length >= 0
    const fits = sound && target + length <= size
    try {
      arena.point(room, target, length)
      if (!fits) t.fail(`point(${target}, ${length}), seed ${seed}`)
      const written = arena.view.getBigUint64(room, true)
      if (written !== BigInt(base + target)) t.fail(`another address for ${target}, seed ${seed}`)
    } catch (thrown) {
      if (fits || !(thrown instanceof RangeError)) throw thrown
      refused++
    }
  }
  t.ok(refused > 1000, `${refused} refused`)
})
