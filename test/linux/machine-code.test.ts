/**
 * Machine code that calls functions in turn: run for real with functions of libc and a table in the arena, and
 * read back by a disassembler where there is one.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import koffi from 'koffi'
import { test } from 'tap'
import { makeArena, mapCode } from '../../linux/ffi.ts'
import { type Callee, callsInTurn } from '../../linux/machine-code.ts'

const arena = makeArena(1 << 16)
const [table, one, other] = [arena.take(256), arena.take(64), arena.take(64)]
const ofTable = koffi.proto('void test_calls_in_turn(uint64_t)')
const dlsym = koffi.load(null).func('uint64_t dlsym(uint64_t, const char *)')
const callee = (name: string, parameters: number): Callee => ({ address: BigInt(dlsym(0, name)), parameters })
const skip = process.arch === 'x64' ? false : 'there is code for x86-64 alone'

function run(callees: readonly Callee[], words: readonly number[]): void {
  const code = callsInTurn(callees, process.arch)
  if (code === undefined) throw new TypeError('no code')
  words.forEach((word, index) => void arena.view.setBigUint64(table + 8 * index, BigInt(word), true))
  const at = mapCode(code)
  koffi.decode(at, ofTable)(arena.address(table, 8 * words.length))
}

const at = (offset: number): number => arena.address(offset, 1)
const text = (offset: number, length: number): string =>
  Buffer.from(arena.bytes.subarray(offset, offset + length)).toString('latin1')

test('functions are called in their order, each with its own arguments', { skip }, async (t) => {
  const fill = callee('memset', 3)
  const copy = callee('memcpy', 3)
  run([fill, copy, fill], [at(one), 0x61, 8, at(other), at(one), 8, at(other) + 2, 0x62, 3])
  t.equal(text(one, 9), 'aaaaaaaa\0')
  t.equal(text(other, 9), 'aabbbaaa\0')
})

test('all six registers arrive, also beyond 32 bits', { skip }, async (t) => {
  const print = callee('snprintf', 6)
  const format = arena.take(64)
  arena.bytes.set(Buffer.from('%lx %lx %lx\0'), format)
  run([print], [at(one), 64, at(format), 0x1_2345_6789, 2, 2 ** 52])
  t.match(text(one, 64), /^123456789 2 10000000000000\0/)
})

test('what is no function of at most six is refused, and other processors have no code', async (t) => {
  t.throws(() => callsInTurn([{ address: 1n, parameters: 7 }], 'x64'), RangeError)
  t.equal(callsInTurn([], 'arm64'), undefined)
})

test('code that can be run can not be written', { skip }, async (t) => {
  const address = mapCode(Uint8Array.of(0xc3)).toString(16)
  const line = readFileSync('/proc/self/maps', 'latin1')
    .split('\n')
    .find((each) => each.startsWith(address) || each.startsWith(address.padStart(8, '0')))
  t.match(line, / r-xp /)
})

const noObjdump = spawnSync('objdump', ['--version']).status === 0 ? false : 'no objdump here'

test('a disassembler reads what was meant', { skip: noObjdump }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-code-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'code')
  writeFileSync(file, callsInTurn([{ address: 0x1122334455667788n, parameters: 6 }], 'x64') ?? '')
  const words = ['-D', '-b', 'binary', '-m', 'i386:x86-64', '-M', 'intel', '--no-show-raw-insn', file]
  const { stdout } = spawnSync('objdump', words, { encoding: 'utf8' })
  const read = stdout.matchAll(/:\t([a-z]+) *([^\n<#]*)/g)
  t.strictSame(
    Array.from(read, ([, name, operands = '']) => `${name} ${operands}`.trim()),
    [
      'push rbx',
      'mov rbx,rdi',
      ...['rdi', 'rsi', 'rdx', 'rcx', 'r8', 'r9'].map(
        (register, index) => `mov ${register},QWORD PTR [rbx+0x${(8 * index).toString(16)}]`,
      ),
      'movabs rax,0x1122334455667788',
      'call rax',
      'pop rbx',
      'ret',
    ],
  )
})
