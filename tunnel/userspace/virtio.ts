/**
 * The virtio network header in front of each packet of a TUN device (virtio 1.2 section 5.1.6), ten bytes in
 * the machine's order: flags, GSO type, `hdr_len` (written and never read: it cannot be trusted), GSO size, where
 * the checksum starts, where it is stored from there.
 */
export const virtioHeaderSize = 10
export const needsChecksum = 1
export const gso = { none: 0, tcpV4: 1, tcpV6: 4, udp: 5, ecn: 0x80 } as const
export const field = {
  flags: 0,
  gsoType: 1,
  headerLength: 2,
  gsoSize: 4,
  checksumStart: 6,
  checksumOffset: 8,
}

/** A packet whose transport checksum is to be completed: from `start` on, stored at `offset` from there. */
export function writeVirtio(
  view: DataView,
  at: number,
  gsoType: number,
  gsoSize: number,
  headers: number,
  start: number,
  offset: number,
): void {
  view.setUint8(at + field.flags, needsChecksum)
  view.setUint8(at + field.gsoType, gsoType)
  view.setUint16(at + field.headerLength, headers, true)
  view.setUint16(at + field.gsoSize, gsoSize, true)
  view.setUint16(at + field.checksumStart, start, true)
  view.setUint16(at + field.checksumOffset, offset, true)
}

/** A packet that is complete and stands for itself. */
export function clearVirtio(view: DataView, at: number): void {
  view.setUint32(at, 0)
  view.setUint32(at + 4, 0)
  view.setUint16(at + 8, 0)
}
