/**
 * IPv4 addresses and CIDR blocks as branded numbers: cheap to compare, to sort and to use as map keys.
 * Text is parsed here and nowhere else; `ip-address` judges what is an address.
 */
import { Address4, Address6 } from 'ip-address'
import type { Branded } from './brand.ts'

/** An IPv4 address as an unsigned 32-bit number, first octet highest. */
export type Ipv4 = Branded<number, 'Ipv4'>

/** A canonical IPv4 network, `10.42.0.0/16`: host bits are zero. */
export type Cidr = Branded<string, 'Cidr'>

/** Strict dotted quad, as in RFC 6943 3.1.1; undefined for anything else. */
export function parseIpv4(text: string): Ipv4 | undefined {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text) || !Address4.isValid(text)) return undefined
  return text.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0) as Ipv4
}

export function formatIpv4(address: Ipv4): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`
}

export const isIpAddress = (text: string): boolean => Address4.isValid(text) || Address6.isValid(text)

export const isIpv6 = (text: string): boolean => Address6.isValid(text)

/** The text form of RFC 5952 of 16 bytes. */
export const ipv6Text = (bytes: Uint8Array): string =>
  Address6.fromUnsignedByteArray([...bytes]).correctForm()

/** Address arithmetic: `address + by`, modulo 2^32. */
export const ipv4At = (address: Ipv4, by: number): Ipv4 => ((address + by) >>> 0) as Ipv4

const mask = (bits: number): number => (bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0)

/** A network in canonical form; undefined when it is not a CIDR or has host bits set. */
export function parseCidr(text: string): Cidr | undefined {
  const [base = '', bits = '', ...rest] = text.split('/')
  const address = parseIpv4(base)
  if (address === undefined || rest.length > 0 || !/^\d{1,2}$/.test(bits) || Number(bits) > 32)
    return undefined
  if ((address & ~mask(Number(bits))) !== 0) return undefined
  return `${base}/${Number(bits)}` as Cidr
}

/** The network of `bits` bits that holds `address`. */
export function cidrOf(address: Ipv4, bits: number): Cidr {
  return `${formatIpv4(((address & mask(bits)) >>> 0) as Ipv4)}/${bits}` as Cidr
}

export interface Network {
  readonly first: Ipv4
  readonly last: Ipv4
  readonly bits: number
  readonly size: number
}

/** The bounds of a network, both ends included. */
export function networkOf(cidr: Cidr): Network {
  const [base = '', bits = '32'] = cidr.split('/')
  const first = parseIpv4(base) ?? (0 as Ipv4)
  const size = 2 ** (32 - Number(bits))
  return { first, last: ipv4At(first, size - 1), bits: Number(bits), size }
}

export function contains(cidr: Cidr, address: Ipv4): boolean {
  const { first, last } = networkOf(cidr)
  return address >= first && address <= last
}

/** Whether the outer network holds all of the inner one. */
export function isWithin(outer: Cidr, inner: Cidr): boolean {
  const { first, last } = networkOf(inner)
  return contains(outer, first) && contains(outer, last)
}

export function overlaps(one: Cidr, other: Cidr): boolean {
  const a = networkOf(one)
  const b = networkOf(other)
  return a.first <= b.last && b.first <= a.last
}

/** The 16 bytes of an IPv6 address; undefined when it is none. */
export function ipv6Bytes(text: string): Uint8Array | undefined {
  if (!isIpv6(text)) return undefined
  const digits = new Address6(text).bigInt().toString(16).padStart(32, '0')
  return Uint8Array.from({ length: 16 }, (_, at) => Number.parseInt(digits.slice(at * 2, at * 2 + 2), 16))
}
