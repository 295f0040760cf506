/**
 * Machine code that calls C functions one after the other, so that JavaScript pays for one call on its way to C
 * instead of one for each. Which functions is part of the code; their arguments are read from a table of words of
 * eight bytes, whose address is the only argument: whoever could write the table could not choose what is called. Pure;
 * for x86-64 and its System V ABI alone.
 */
export interface Callee {
  readonly address: bigint
  /** Integers and pointers, at most six. */
  readonly parameters: number
}

/** Of integer parameters, in their order (psABI 3.2.3): their numbers; from eight on they are extended ones. */
const registers = { rdi: 7, rsi: 6, rdx: 2, rcx: 1, r8: 8, r9: 9 }
const inOrder = Object.values(registers)

/** `push rbx; mov rbx, rdi`: the table, in a register that calls leave alone; aligns the stack as calls want it. */
const prologue = [0x53, 0x48, 0x89, 0xfb]
/** `pop rbx; ret` */
const epilogue = [0x5b, 0xc3]

/** The code; undefined for another processor. */
export function callsInTurn(callees: readonly Callee[], processor: string): Uint8Array | undefined {
  if (processor !== 'x64') return undefined
  let word = 0
  const calls = callees.flatMap(({ address, parameters }) => {
    if (parameters > inOrder.length) throw new RangeError('more parameters than registers')
    const loads = inOrder.slice(0, parameters).flatMap((register) => load(register, 8 * word++))
    return [...loads, ...call(address)]
  })
  return Uint8Array.from([...prologue, ...calls, ...epilogue])
}

/** `mov register, [rbx + offset]` */
function load(register: number, offset: number): readonly number[] {
  const [extended, number] = [register >> 3, register & 7]
  return [0x48 | (extended << 2), 0x8b, 0x80 | (number << 3) | 3, ...littleEndian(BigInt(offset), 4)]
}

/** `mov rax, address; call rax` */
const call = (address: bigint): readonly number[] => [0x48, 0xb8, ...littleEndian(address, 8), 0xff, 0xd0]

const littleEndian = (value: bigint, bytes: number): readonly number[] =>
  Array.from({ length: bytes }, (_, index) => Number((value >> BigInt(8 * index)) & 0xffn))
