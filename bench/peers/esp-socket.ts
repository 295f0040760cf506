/**
 * Holds the socket by which the kernel takes ESP in UDP (RFC 3948), port 4500, until its input ends. charon has one of
 * its own; `ip xfrm` alone has none.
 */
import { Libc, makeArena } from '../../linux/ffi.ts'

/** linux/udp.h */
const udpEncap = 100
const espInUdp = 2
const [inet, datagram, udp] = [2, 2, 17]

const libc = new Libc(makeArena(4096))
const socket = libc.socket(inet, datagram, udp)
const address = libc.arena.take(16)
libc.arena.bytes.set([inet, 0, 4500 >> 8, 4500 & 0xff], address)
libc.bind(socket, address, 16)
libc.setOption(socket, udp, udpEncap, espInUdp)
process.stdin.resume()
