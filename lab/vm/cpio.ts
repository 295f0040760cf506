/**
 * An archive as the kernel wants its initial file system: cpio, format "newc". Pure.
 */
export interface CpioEntry {
  readonly path: string
  /** Type and permissions as in stat(2). */
  readonly mode: number
  readonly data?: Uint8Array
}

export const folder = (path: string): CpioEntry => ({ path, mode: 0o040755 })
export const program = (path: string, data: Uint8Array): CpioEntry => ({ path, mode: 0o100755, data })

/** Name and data begin at multiples of four (cpio(5)). */
const padding = (length: number): Uint8Array => new Uint8Array(-length & 3)

export function cpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts = [...entries, { path: 'TRAILER!!!', mode: 0 }].flatMap(record)
  return Buffer.concat(parts)
}

function record({ path, mode, data = new Uint8Array() }: CpioEntry, index: number): readonly Uint8Array[] {
  const name = Buffer.from(`${path}\0`)
  const [uid, gid, links, time, major, minor] = [0, 0, 1, 0, 0, 0]
  const fields = [index + 1, mode, uid, gid, links, time, data.length, major, minor, 0, 0, name.length, 0]
  const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`)
  return [head, name, padding(head.length + name.length), data, padding(data.length)]
}
