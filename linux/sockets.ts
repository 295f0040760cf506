/**
 * Which ports are taken, out of the texts of /proc/net/udp, tcp and their IPv6 sisters (proc(5)). Pure.
 */
export interface BoundSocket {
  readonly protocol: 'udp' | 'tcp'
  readonly port: number
  /** It takes what comes to any address, or exactly to this one: `169.254.169.250`; empty for other IPv6 ones. */
  readonly address: string
  /** Tells who holds it; 0 where the kernel itself does. */
  readonly inode: number
}

/** TCP_LISTEN and, for UDP, TCP_CLOSE: bound, and not connected to one peer. */
const waiting = { tcp: '0A', udp: '07' } as const

export function boundSockets(protocol: BoundSocket['protocol'], text: string): readonly BoundSocket[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const words = line.trim().split(/\s+/)
      const [address = '', port = ''] = (words[1] ?? '').split(':')
      if (words[3] !== waiting[protocol] || port === '') return []
      return [
        {
          protocol,
          port: Number.parseInt(port, 16),
          address: addressOf(address),
          inode: Number(words[9] ?? 0),
        },
      ]
    })
}

/** The kernel writes words of the processor's order, which is the small end first on all that we run on. */
function addressOf(hex: string): string {
  if (/^0+$/.test(hex)) return '0.0.0.0'
  if (hex.length !== 8) return ''
  return (hex.match(/../g) ?? [])
    .reverse()
    .map((byte) => Number.parseInt(byte, 16))
    .join('.')
}
