/**
 * The kernel's WireGuard behind the protocol that userspace engines speak (UAPI), so that one way leads from the
 * snapshot to either. It makes no device; `kernel-device.ts` does.
 */
import type { Wireguard } from '../linux/wireguard.ts'
import { utf8 } from '../model/bytes.ts'
import { DroverError } from '../model/errors.ts'
import { errno, renderErrno, renderStatus, UapiReader } from './wireguard/uapi.ts'
import type { EngineSocket } from './wireguard-backend.ts'

export class KernelEngine implements EngineSocket {
  readonly #wireguard: Pick<Wireguard, 'read' | 'change'>
  readonly #name: string

  constructor(wireguard: Pick<Wireguard, 'read' | 'change'>, name: string) {
    this.#wireguard = wireguard
    this.#name = name
  }

  async get(): Promise<string> {
    const device = this.#wireguard.read(this.#name)
    if (device === undefined)
      throw new DroverError('TUNNEL_UNAVAILABLE', `the kernel has no WireGuard device ${this.#name}`)
    const peers = device.peers.map((peer) => ({
      ...peer,
      endpoint: peer.endpoint && { ...peer.endpoint, source: undefined },
      marks: false,
    }))
    return renderStatus({ ...device, peers }, device)
  }

  async set(lines: readonly string[]): Promise<void> {
    const code = this.#set(lines)
    if (code === 0) return
    const answer = renderErrno(code).trim()
    throw new DroverError('TUNNEL_UNAVAILABLE', `${this.#name} refuses a change: ${answer}`)
  }

  #set(lines: readonly string[]): number {
    const [operation] = new UapiReader().push(utf8(`set=1\n${lines.join('\n')}\n\n`))
    if (operation?.is === 'set') return this.#wireguard.change(this.#name, operation.change)
    return operation?.is === 'bad' ? operation.errno : errno.protocol
  }
}
