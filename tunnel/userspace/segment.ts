/**
 * What a TUN device hands over with offloads becomes packets that can leave: missing checksums are completed in
 * place, TSO and USO packets are cut into segments, each with headers and checksums of its own. Pure work on
 * memory. A packet whose headers lie about themselves yields nothing.
 */
import { folded, type Memory, pseudoSum, sumOf, writeChecksum, writeHeaderChecksum } from './checksum.ts'
import { gso, needsChecksum, readVirtio, type VirtioHeader } from './virtio.ts'

/** Where segments go: `next` grows to `end`, with `before` and `after` free bytes around each. */
export interface Segments {
  count: number
  next: number
  readonly end: number
  readonly before: number
  readonly after: number
  readonly at: Uint32Array
  readonly length: Uint32Array
}

const tcp = 6
const udp = 17
/** FIN and PSH belong to the last segment, CWR to the first (RFC 3168 6.1.2). */
const lastOnly = 0x01 | 0x08
const firstOnly = 0x80

interface Plan {
  readonly at: number
  readonly v4: boolean
  readonly protocol: number
  readonly transport: number
  readonly headers: number
  readonly length: number
  readonly size: number
}

/** Adds the packets of what was read at `at` (its virtio header right before it); false when it lies. */
export function segment(memory: Memory, at: number, length: number, out: Segments): boolean {
  const header = readVirtio(memory.view, at - 10)
  if (header.gsoType === gso.none) {
    if ((header.flags & needsChecksum) !== 0 && !completeChecksum(memory, at, length, header)) return false
    return push(out, at, length)
  }
  const plan = planOf(memory, at, length, header)
  return plan !== undefined && cut(memory, plan, out)
}

/** The checksum field holds the sum of the pseudo header already. */
function completeChecksum({ view }: Memory, at: number, length: number, header: VirtioHeader): boolean {
  const { checksumStart: start, checksumOffset: offset } = header
  if (start + offset + 2 > length) return false
  const sum = ~folded(sumOf(view, at + start, length - start, 0)) & 0xffff
  const isUdp = offset === 6
  view.setUint16(at + start + offset, sum === 0 && isUdp ? 0xffff : sum, true)
  return true
}

function planOf({ view }: Memory, at: number, length: number, header: VirtioHeader): Plan | undefined {
  const { gsoType, gsoSize: size, checksumStart: transport } = header
  const v4 = length > 0 && view.getUint8(at) >> 4 === 4
  const protocol = gsoType === gso.udp ? udp : tcp
  if (size === 0 || length < (v4 ? 20 : 40) + 8) return undefined
  if (gsoType !== gso.udp && gsoType !== (v4 ? gso.tcpV4 : gso.tcpV6)) return undefined
  if (!v4 && view.getUint8(at) >> 4 !== 6) return undefined
  const shortest = v4 ? (view.getUint8(at) & 15) * 4 : 40
  if (transport < 20 || transport < shortest || (v4 && transport !== shortest)) return undefined
  if (v4 && view.getUint8(at + 9) !== protocol) return undefined
  if (transport + (protocol === tcp ? 20 : 8) > length) return undefined
  const own = protocol === tcp ? (view.getUint8(at + transport + 12) >> 4) * 4 : 8
  const headers = transport + own
  if (own < 8 || (protocol === tcp && own < 20) || headers >= length) return undefined
  return { at, v4, protocol, transport, headers, length, size }
}

function cut(memory: Memory, plan: Plan, out: Segments): boolean {
  const { bytes } = memory
  const payload = plan.length - plan.headers
  const count = Math.ceil(payload / plan.size)
  const room = out.before + plan.headers + plan.size + out.after + 16
  if (out.next + count * room > out.end || out.count + count > out.at.length) return false
  for (let index = 0; index < count; index++) {
    const from = plan.headers + index * plan.size
    const length = Math.min(plan.size, plan.length - from)
    const at = Math.ceil((out.next + out.before) / 16) * 16
    bytes.copyWithin(at, plan.at, plan.at + plan.headers)
    bytes.copyWithin(at + plan.headers, plan.at + from, plan.at + from + length)
    finish(memory, plan, at, plan.headers + length, index, count)
    push(out, at, plan.headers + length)
    out.next = at + plan.headers + length + out.after
  }
  return true
}

/** Headers of the segment at `at`, which so far are those of the whole. */
function finish(
  { view }: Memory,
  plan: Plan,
  at: number,
  length: number,
  index: number,
  count: number,
): void {
  const { v4, transport, protocol } = plan
  if (v4) {
    view.setUint16(at + 2, length)
    view.setUint16(at + 4, (view.getUint16(at + 4) + index) & 0xffff)
    writeHeaderChecksum(view, at, transport)
  } else view.setUint16(at + 4, length - 40)
  const own = at + transport
  if (protocol === tcp) {
    view.setUint32(own + 4, (view.getUint32(own + 4) + index * plan.size) >>> 0)
    let flags = view.getUint8(own + 13)
    if (index < count - 1) flags &= ~lastOnly
    if (index > 0) flags &= ~firstOnly
    view.setUint8(own + 13, flags)
  } else view.setUint16(own + 4, length - transport)
  const field = own + (protocol === tcp ? 16 : 6)
  writeChecksum(view, own, length - transport, field, pseudoSum(view, at, protocol, length - transport))
  if (protocol === udp && view.getUint16(field) === 0) view.setUint16(field, 0xffff)
}

function push(out: Segments, at: number, length: number): boolean {
  if (out.count >= out.at.length) return false
  out.at[out.count] = at
  out.length[out.count] = length
  out.count++
  return true
}
