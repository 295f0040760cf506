/**
 * The home of koffi: functions of libc and of the OpenSSL inside of Node, as plain methods. Memory is named by
 * offsets into the arena and checked by it; libc's results are those of the kernel: negative numbers are
 * errors. Does not know what a TUN device or a socket is for.
 */
import koffi from 'koffi'
import { Arena } from './arena.ts'

/** Numbers of the kernel's errors that somebody here acts upon. */
export const errors = {
  EPERM: 1,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  EINVAL: 22,
  EBUSY: 16,
  ENODEV: 19,
  EMSGSIZE: 90,
  EBADFD: 77,
  EADDRINUSE: 98,
  ENOBUFS: 105,
} as const

const process = koffi.load(null)

const c = {
  malloc: process.func('uint64_t malloc(size_t)'),
  open: process.func('int open(const char *, int, int)'),
  close: process.func('int close(int)'),
  dup: process.func('int dup(int)'),
  read: process.func('int64_t read(int, uint64_t, size_t)'),
  write: process.func('int64_t write(int, uint64_t, size_t)'),
  writev: process.func('int64_t writev(int, uint64_t, int)'),
  ioctl: process.func('int ioctl(int, ulong, uint64_t)'),
  ioctlValue: process.func('int ioctl(int, ulong, ulong)'),
  fcntl: process.func('int fcntl(int, int, int)'),
  poll: process.func('int poll(uint64_t, ulong, int)'),
  clockGettime: process.func('int clock_gettime(int, uint64_t)'),
  eventfd: process.func('int eventfd(uint, int)'),
  socket: process.func('int socket(int, int, int)'),
  bind: process.func('int bind(int, uint64_t, uint)'),
  getsockname: process.func('int getsockname(int, uint64_t, uint64_t)'),
  setsockopt: process.func('int setsockopt(int, int, int, uint64_t, uint)'),
  getsockopt: process.func('int getsockopt(int, int, int, uint64_t, uint64_t)'),
  sendto: process.func('int64_t sendto(int, uint64_t, size_t, int, uint64_t, uint)'),
  recv: process.func('int64_t recv(int, uint64_t, size_t, int)'),
  recvmmsg: process.func('int recvmmsg(int, uint64_t, uint, int, uint64_t)'),
  sendmmsg: process.func('int sendmmsg(int, uint64_t, uint, int)'),
} as const

/** A fresh arena from malloc. */
export function makeArena(size: number): Arena {
  const base: number = c.malloc(size)
  if (base === 0) throw new RangeError('no memory for the arena')
  const arena = new Arena(base, koffi.view(base, size))
  arena.bytes.fill(0)
  return arena
}

const iovecSize = 16
const mmsghdrSize = 64
const pollfdSize = 8

export class Libc {
  readonly arena: Arena
  readonly #scratch: number

  constructor(arena: Arena) {
    this.arena = arena
    this.#scratch = arena.take(64)
  }

  open(path: string, flags: number): number {
    return checked(c.open(path, flags, 0o600))
  }

  close(fd: number): number {
    return checked(c.close(fd))
  }

  dup(fd: number): number {
    return checked(c.dup(fd))
  }

  read(fd: number, at: number, length: number): number {
    return checked(c.read(fd, this.arena.address(at, length), length))
  }

  write(fd: number, at: number, length: number): number {
    return checked(c.write(fd, this.arena.address(at, length), length))
  }

  /** `count` iovecs at `at`; their pointers were written by `Arena.point`. */
  writev(fd: number, at: number, count: number): number {
    return checked(c.writev(fd, this.arena.address(at, count * iovecSize), count))
  }

  ioctl(fd: number, request: number, at: number, length: number): number {
    return checked(c.ioctl(fd, request, this.arena.address(at, length)))
  }

  /** For the few requests whose argument is the value itself. */
  ioctlValue(fd: number, request: number, value: number): number {
    return checked(c.ioctlValue(fd, request, value))
  }

  setNonBlocking(fd: number): number {
    const flags = checked(c.fcntl(fd, 3, 0))
    return flags < 0 ? flags : checked(c.fcntl(fd, 4, flags | 0o4000))
  }

  poll(at: number, count: number, timeout: number): number {
    return checked(c.poll(this.arena.address(at, count * pollfdSize), count, timeout))
  }

  /** Milliseconds since the machine started, suspension included (CLOCK_BOOTTIME). */
  bootTime(): number {
    checked(c.clockGettime(7, this.arena.address(this.#scratch + 16, 16)))
    const { view } = this.arena
    const seconds = view.getUint32(this.#scratch + 16, true)
    return seconds * 1000 + view.getUint32(this.#scratch + 24, true) / 1e6
  }

  eventfd(): number {
    return checked(c.eventfd(0, 0o4000 | 0o2000000))
  }

  socket(family: number, type: number, protocol: number): number {
    return checked(c.socket(family, type, protocol))
  }

  bind(fd: number, at: number, length: number): number {
    return checked(c.bind(fd, this.arena.address(at, length), length))
  }

  /** Writes the socket's own address to `at`. */
  socketName(fd: number, at: number, length: number): number {
    this.arena.view.setUint32(this.#scratch, length, true)
    return checked(c.getsockname(fd, this.arena.address(at, length), this.arena.address(this.#scratch, 4)))
  }

  setOption(fd: number, level: number, name: number, value: number): number {
    this.arena.view.setInt32(this.#scratch, value, true)
    return checked(c.setsockopt(fd, level, name, this.arena.address(this.#scratch, 4), 4))
  }

  /** An option whose value lies in the arena. */
  setOptionAt(fd: number, level: number, name: number, at: number, length: number): number {
    return checked(c.setsockopt(fd, level, name, this.arena.address(at, length), length))
  }

  option(fd: number, level: number, name: number): number {
    this.arena.view.setUint32(this.#scratch + 4, 4, true)
    const result = checked(
      c.getsockopt(
        fd,
        level,
        name,
        this.arena.address(this.#scratch, 4),
        this.arena.address(this.#scratch + 4, 4),
      ),
    )
    return result < 0 ? result : this.arena.view.getInt32(this.#scratch, true)
  }

  sendTo(fd: number, at: number, length: number, flags: number, to: number, toLength: number): number {
    return checked(
      c.sendto(fd, this.arena.address(at, length), length, flags, this.arena.address(to, toLength), toLength),
    )
  }

  receive(fd: number, at: number, length: number, flags: number): number {
    return checked(c.recv(fd, this.arena.address(at, length), length, flags))
  }

  /** `count` mmsghdrs at `at`; their pointers were written by `Arena.point`. */
  receiveMany(fd: number, at: number, count: number, flags: number): number {
    return checked(c.recvmmsg(fd, this.arena.address(at, count * mmsghdrSize), count, flags, 0))
  }

  sendMany(fd: number, at: number, count: number, flags: number): number {
    return checked(c.sendmmsg(fd, this.arena.address(at, count * mmsghdrSize), count, flags))
  }
}

/** The kernel's convention: what went well is not negative, an error is its number, negative. */
function checked(result: number): number {
  return result >= 0 ? result : -koffi.errno()
}

const evp = {
  newContext: process.func('uint64_t EVP_CIPHER_CTX_new()'),
  freeContext: process.func('void EVP_CIPHER_CTX_free(uint64_t)'),
  chacha: process.func('uint64_t EVP_chacha20_poly1305()'),
  init: process.func('int EVP_CipherInit_ex(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, int)'),
  update: process.func('int EVP_CipherUpdate(uint64_t, uint64_t, uint64_t, uint64_t, int)'),
  final: process.func('int EVP_CipherFinal_ex(uint64_t, uint64_t, uint64_t)'),
  ctrl: process.func('int EVP_CIPHER_CTX_ctrl(uint64_t, int, int, uint64_t)'),
} as const

const getTag = 0x10
const setTag = 0x11

/** A ChaCha20-Poly1305 context of OpenSSL with its key, for one direction. */
export class EvpContext {
  readonly #arena: Arena
  readonly #scratch: number
  readonly #direction: 0 | 1
  #context: number

  /** `scratch`: 64 bytes of the arena that contexts of one thread may share; the key lies at `keyAt`. */
  constructor(arena: Arena, scratch: number, keyAt: number, direction: 'seal' | 'open') {
    this.#arena = arena
    this.#scratch = scratch
    this.#direction = direction === 'seal' ? 1 : 0
    this.#context = evp.newContext()
    const key = arena.address(keyAt, 32)
    if (this.#context === 0 || evp.init(this.#context, evp.chacha(), 0, key, 0, this.#direction) !== 1)
      throw new TypeError('OpenSSL refuses ChaCha20-Poly1305')
  }

  /** Encrypts in place and writes the tag behind. */
  seal(at: number, length: number, nonceAt: number): boolean {
    const address = this.#start(at, length + 16, nonceAt)
    return this.#run(address, length) && evp.ctrl(this.#context, getTag, 16, address + length) === 1
  }

  /** Decrypts `length` bytes in place and checks the tag behind them. */
  open(at: number, length: number, nonceAt: number): boolean {
    const address = this.#start(at, length + 16, nonceAt)
    return evp.ctrl(this.#context, setTag, 16, address + length) === 1 && this.#run(address, length)
  }

  close(): void {
    if (this.#context !== 0) evp.freeContext(this.#context)
    this.#context = 0
  }

  #start(at: number, length: number, nonceAt: number): number {
    if (this.#context === 0) throw new TypeError('the key is closed')
    const nonce = this.#arena.address(nonceAt, 12)
    evp.init(this.#context, 0, 0, 0, nonce, this.#direction)
    return this.#arena.address(at, length)
  }

  #run(address: number, length: number): boolean {
    const done = this.#arena.address(this.#scratch, 64)
    return (
      evp.update(this.#context, address, done, address, length) === 1 &&
      evp.final(this.#context, done + 16, done) === 1
    )
  }
}
