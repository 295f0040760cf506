/**
 * The virtio network header in front of each packet of a TUN device (virtio 1.2 section 5.1.6), ten bytes in
 * the machine's order. `hdr_len` is written and never read: it cannot be trusted.
 */
export const virtioHeaderSize = 10
export const needsChecksum = 1
export const gso = { none: 0, tcpV4: 1, tcpV6: 4, udp: 5, ecn: 0x80 } as const

export interface VirtioHeader {
  readonly flags: number
  readonly gsoType: number
  readonly headerLength: number
  readonly gsoSize: number
  readonly checksumStart: number
  readonly checksumOffset: number
}

export function readVirtio(view: DataView, at: number): VirtioHeader {
  return {
    flags: view.getUint8(at),
    gsoType: view.getUint8(at + 1) & ~gso.ecn,
    headerLength: view.getUint16(at + 2, true),
    gsoSize: view.getUint16(at + 4, true),
    checksumStart: view.getUint16(at + 6, true),
    checksumOffset: view.getUint16(at + 8, true),
  }
}

export function writeVirtio(view: DataView, at: number, header: VirtioHeader): void {
  view.setUint8(at, header.flags)
  view.setUint8(at + 1, header.gsoType)
  view.setUint16(at + 2, header.headerLength, true)
  view.setUint16(at + 4, header.gsoSize, true)
  view.setUint16(at + 6, header.checksumStart, true)
  view.setUint16(at + 8, header.checksumOffset, true)
}

/** A packet that is complete and stands for itself. */
export function clearVirtio(memory: Uint8Array, at: number): void {
  memory.fill(0, at, at + virtioHeaderSize)
}
