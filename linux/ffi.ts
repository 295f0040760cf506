/**
 * Functions of libc as plain methods, and the arena that they work on. Memory is named by offsets into the arena
 * and checked by it; results are those of the kernel: negative numbers are errors. Does not know what a TUN
 * device or a socket is for.
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
  ENETUNREACH: 101,
  ENOBUFS: 105,
} as const

const process = koffi.load(null)

const c = {
  mmap: process.func('int64_t mmap(uint64_t, size_t, int, int, int, int64_t)'),
  mprotect: process.func('int mprotect(uint64_t, size_t, int)'),
  memfdCreate: process.func('int memfd_create(const char *, uint)'),
  ftruncate: process.func('int ftruncate(int, int64_t)'),
  /** Moves nothing: the address of memory that V8 made. */
  memmove: process.func('uint64_t memmove(uint8_t *, uint8_t *, size_t)'),
  open: process.func('int open(const char *, int, int)'),
  close: process.func('int close(int)'),
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
  listen: process.func('int listen(int, int)'),
  connect: process.func('int connect(int, uint64_t, uint)'),
  socketpair: process.func('int socketpair(int, int, int, uint64_t)'),
  schedSetscheduler: process.func('int sched_setscheduler(int, int, uint64_t)'),
  setpriority: process.func('int setpriority(int, int, int)'),
  getsockname: process.func('int getsockname(int, uint64_t, uint64_t)'),
  setsockopt: process.func('int setsockopt(int, int, int, uint64_t, uint)'),
  getsockopt: process.func('int getsockopt(int, int, int, uint64_t, uint64_t)'),
  sendto: process.func('int64_t sendto(int, uint64_t, size_t, int, uint64_t, uint)'),
  recv: process.func('int64_t recv(int, uint64_t, size_t, int)'),
  recvmmsg: process.func('int recvmmsg(int, uint64_t, uint, int, uint64_t)'),
  sendmmsg: process.func('int sendmmsg(int, uint64_t, uint, int)'),
} as const

const map = {
  readWrite: 3,
  readExecute: 5,
  shared: 1,
  private: 2,
  fixed: 0x10,
  anonymous: 0x20,
  fixedNoReplace: 0x100000,
}

/** Where memory is asked for: addresses below 2^31 are small integers, which V8 does not box and koffi reads faster. */
const lowPlaces = [0x1000_0000, 0x2000_0000, 0x3000_0000, 0x4000_0000, 0x5000_0000, 0x6000_0000]

/**
 * A fresh arena, filled with zeros. `twin`: memory of WebAssembly, of the same size, that becomes the same bytes;
 * without a kernel that can do this, the arena lies in the twin itself, at a high address.
 */
export function makeArena(size: number, twin?: ArrayBuffer): Arena {
  if (twin === undefined) {
    const base = mapLow(size, -1)
    if (base < 0) throw new RangeError('no memory for the arena')
    return new Arena(base, koffi.view(base, size))
  }
  const own: number = c.memmove(new Uint8Array(twin), new Uint8Array(twin), 0)
  const file = c.memfdCreate('arena', 1)
  const base = file >= 0 && c.ftruncate(file, size) === 0 ? mapLow(size, file) : -1
  const joined = base >= 0 && c.mmap(own, size, map.readWrite, map.fixed | map.shared, file, 0) === own
  if (file >= 0) c.close(file)
  return new Arena(joined ? base : own, twin)
}

/** The address, or a negative number. */
function mapLow(size: number, file: number): number {
  const kind = file < 0 ? map.private | map.anonymous : map.shared
  for (const place of lowPlaces)
    if (c.mmap(place, size, map.readWrite, kind | map.fixedNoReplace, file, 0) === place) return place
  return c.mmap(0, size, map.readWrite, kind, file, 0)
}

/** Machine code, at an address where it can be run and not be changed any more; a negative number where that is forbidden. */
export function mapCode(code: Uint8Array): number {
  const at = c.mmap(0, code.length, map.readWrite, map.private | map.anonymous, -1, 0)
  if (at < 0) return at
  new Uint8Array(koffi.view(at, code.length)).set(code)
  const closed = checked(c.mprotect(at, code.length, map.readExecute))
  return closed < 0 ? closed : at
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

  /** Another descriptor of the same thing, which children do not inherit (F_DUPFD_CLOEXEC). */
  dup(fd: number): number {
    return checked(c.fcntl(fd, 1030, 0))
  }

  /** Children do not inherit it any more (F_SETFD, FD_CLOEXEC). */
  keepFromChildren(fd: number): number {
    return checked(c.fcntl(fd, 2, 1))
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

  /** `length`: what the request reads or writes at `at`, which the kernel is not told; never nothing. */
  ioctl(fd: number, request: number, at: number, length: number): number {
    return checked(c.ioctl(fd, request, this.arena.address(at, Math.max(1, length))))
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

  /**
   * Whole milliseconds since the machine started, suspension included (CLOCK_BOOTTIME): a small integer for the
   * first 24 days, where a fraction would be boxed for each caller.
   */
  bootTime(): number {
    checked(c.clockGettime(7, this.arena.address(this.#scratch + 16, 16)))
    const { view } = this.arena
    const seconds = view.getUint32(this.#scratch + 16, true)
    return seconds * 1000 + ((view.getUint32(this.#scratch + 24, true) / 1e6) | 0)
  }

  eventfd(): number {
    return checked(c.eventfd(0, 0o4000 | 0o2000000))
  }

  socket(family: number, type: number, protocol: number): number {
    return checked(c.socket(family, type, protocol))
  }

  /** Two ends of a stream between processes, which children do not inherit; undefined where there is none. */
  socketPair(): readonly [number, number] | undefined {
    const result = checked(c.socketpair(1, 1 | 0o2000000, 0, this.arena.address(this.#scratch, 8)))
    const { view } = this.arena
    if (result < 0) return undefined
    return [view.getInt32(this.#scratch, true), view.getInt32(this.#scratch + 4, true)]
  }

  /** Whether the calling thread goes before all ordinary ones (SCHED_FIFO, the least of its priorities). */
  setUrgent(urgent: boolean): number {
    this.arena.view.setInt32(this.#scratch, urgent ? 1 : 0, true)
    return checked(c.schedSetscheduler(0, urgent ? 1 : 0, this.arena.address(this.#scratch, 4)))
  }

  /** The calling thread's share of a busy processor: from -20, the most, to 19 (setpriority(2)). */
  setNice(nice: number): number {
    return checked(c.setpriority(0, 0, nice))
  }

  bind(fd: number, at: number, length: number): number {
    return checked(c.bind(fd, this.arena.address(at, length), length))
  }

  listen(fd: number, backlog: number): number {
    return checked(c.listen(fd, backlog))
  }

  connect(fd: number, at: number, length: number): number {
    return checked(c.connect(fd, this.arena.address(at, length), length))
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
