/**
 * Waiting while the kernel's WireGuard has the interface: the daemon then uses that engine, and whoever started
 * this process (systemd) would start it again if it ended. When the device goes, the wait is over. Pure.
 */
import type { Wireguard } from '../../linux/wireguard.ts'

export interface StandbyDeps {
  readonly wireguard: Pick<Wireguard, 'exists'>
  readonly pause: () => Promise<void>
  readonly say: (text: string) => void
}

export async function standBy({ wireguard, pause, say }: StandbyDeps, name: string): Promise<void> {
  if (!wireguard.exists(name)) return
  say("stands by: the kernel's WireGuard has this interface")
  while (wireguard.exists(name)) await pause()
  say('takes over: the interface is free')
}
