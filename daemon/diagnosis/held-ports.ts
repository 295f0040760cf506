/**
 * Who holds the ports that this environment's daemon and tunnel want: another program, or another environment of
 * this machine. Of what the kernel holds by itself nothing can be said.
 */
import type { Proc, Process } from '../../linux/proc.ts'
import { boundSockets } from '../../linux/sockets.ts'
import type { HeldPort } from '../../status/machine-facts.ts'
import type { Config } from '../config/resolve.ts'

const runs = ({ argv }: Process, program: 'main' | 'wireguard'): boolean =>
  argv.some((word) => new RegExp(`cli/${program}\\.[jt]s$`).test(word))

/** The interface of a tunnel process; options stand before it or behind it. */
const interfaceOf = ({ argv }: Process): string | undefined =>
  argv
    .slice(argv.findIndex((word) => /cli\/wireguard\.[jt]s$/.test(word)) + 1)
    .find((word) => !word.startsWith('-'))

/** Whether it is the tunnel process of an interface. */
export const isTunnel = (one: Process, name: string): boolean =>
  runs(one, 'wireguard') && interfaceOf(one) === name

/** `daemon`: ours answers, so that what a daemon listens on may be its own. */
export function heldPorts(
  { tunnel, dns, metadata, join, host }: Config,
  { proc, daemon }: { readonly proc: Proc; readonly daemon: boolean },
  processes: readonly Process[],
): readonly HeldPort[] {
  const ofDaemon = [
    { key: 'dns.port', protocol: 'udp', port: dns.port },
    { key: 'dns.port', protocol: 'tcp', port: dns.port },
    { key: 'metadata.port', protocol: 'tcp', port: metadata.port },
    { key: 'join.port', protocol: 'tcp', port: join.port },
  ] as const
  const ofTunnel = { key: 'tunnel.port', protocol: 'udp', port: tunnel.port } as const
  const bound = (['udp', 'tcp'] as const).flatMap((protocol) =>
    [protocol, `${protocol}6`].flatMap((file) =>
      boundSockets(protocol, proc.text(`/proc/net/${file}`) ?? ''),
    ),
  )
  const wanted = new Set(['0.0.0.0', '169.254.169.250', host.address])
  return [ofTunnel, ...(daemon ? [] : ofDaemon)].map((one) => {
    const holder = bound
      .filter(
        ({ protocol, port, address }) =>
          protocol === one.protocol && port === one.port && wanted.has(address),
      )
      .flatMap(({ inode }) => (inode === 0 ? [] : (proc.holderOf(inode, processes) ?? [])))
      .find((held) => !isTunnel(held, tunnel.interface))
    return { ...one, holder: holder === undefined ? undefined : nameOf(holder) }
  })
}

function nameOf(holder: Process): string {
  const { argv, pid } = holder
  if (runs(holder, 'wireguard'))
    return `the tunnel ${interfaceOf(holder)} of another environment (process ${pid})`
  if (runs(holder, 'main'))
    return `a Drover daemon of another environment, or one that hangs (process ${pid})`
  return `${argv[0]} (process ${pid})`
}
