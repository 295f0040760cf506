/**
 * Types, response codes and addresses of messages as people read them. Pure.
 */
import { formatIpv4, type Ipv4, ipv6Text } from '../../model/ip.ts'
import { rcodes, types } from './message.ts'

const typeNames = new Map<number, string>(Object.entries(types).map(([name, number]) => [number, name]))
export const typeText = (type: number): string => typeNames.get(type) ?? `TYPE${type}`

const rcodeNames = new Map<number, string>(Object.entries(rcodes).map(([name, number]) => [number, name]))
export const rcodeText = (rcode: number): string => rcodeNames.get(rcode) ?? `RCODE${rcode}`

/** The data of an A or AAAA record; undefined for that of another. */
export function addressText(type: number, data: Uint8Array): string | undefined {
  if (type === types.A && data.length === 4)
    return formatIpv4(data.reduce((sum, byte) => sum * 256 + byte, 0) as Ipv4)
  return type === types.AAAA && data.length === 16 ? ipv6Text(data) : undefined
}
