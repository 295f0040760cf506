/**
 * Where the checksum of an inner packet lies: only in whole, unfragmented TCP and UDP packets whose headers tell
 * the truth about their lengths. Both ends of a tunnel judge by this whether a checksum may be left to the receiver.
 */
export const tcp = 6
export const udp = 17
/** From the start of the transport header. */
export const checksumOffset = { [tcp]: 16, [udp]: 6 } as const

export interface Transport {
  readonly protocol: typeof tcp | typeof udp
  /** Where its header starts, from the start of the packet. */
  readonly start: number
}

const shapes: Readonly<Record<4 | 6, Readonly<Record<typeof tcp | typeof udp, Transport>>>> = {
  4: { [tcp]: { protocol: tcp, start: 20 }, [udp]: { protocol: udp, start: 20 } },
  6: { [tcp]: { protocol: tcp, start: 40 }, [udp]: { protocol: udp, start: 40 } },
}

/**
 * Of the packet at `at`, which is exactly `length` bytes long; undefined where it is anything else, IPv4 options
 * and IPv6 extension headers included.
 */
export function transportOf(view: DataView, at: number, length: number): Transport | undefined {
  if (length < 28) return undefined
  const first = view.getUint8(at)
  if (first === 0x45) {
    if (view.getUint16(at + 2) !== length || (view.getUint16(at + 6) & 0x3fff) !== 0) return undefined
    return checked(view, at, length, 4, view.getUint8(at + 9))
  }
  if (first >> 4 !== 6 || length < 48 || view.getUint16(at + 4) + 40 !== length) return undefined
  return checked(view, at, length, 6, view.getUint8(at + 6))
}

function checked(
  view: DataView,
  at: number,
  length: number,
  version: 4 | 6,
  protocol: number,
): Transport | undefined {
  if (protocol === tcp) {
    const shape = shapes[version][tcp]
    return length >= shape.start + 20 ? shape : undefined
  }
  if (protocol !== udp) return undefined
  const shape = shapes[version][udp]
  return view.getUint16(at + shape.start + 4) === length - shape.start ? shape : undefined
}
