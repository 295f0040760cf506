/**
 * What the kernel encrypts itself, on a kernel that has it: ESP in UDP as `ip xfrm` sets it up, the same as our IPsec
 * backend has charon set it up, and WireGuard. The same cipher suite for both kinds of ESP; MTUs as ours are.
 */
import { join } from 'node:path'
import { must } from '../../lab/command.ts'
import { node, root } from '../../lab/layout.ts'
import { authorityIn, connect, IpsecHost } from '../../test/support/ipsec-hosts.ts'
import { carried, meet } from '../../test/support/ipsec-sas.ts'
import type { Contestant, End, Site } from '../tunnel-pair.ts'

export const rawEsp: Contestant = { name: 'ESP by ip xfrm', start: (site) => startRaw(site, byPolicies) }
export const rawLinkEsp: Contestant = {
  name: 'ESP by ip xfrm, XFRM interface',
  start: (site) => startRaw(site, byInterface),
}
export const ourEsp: Contestant = { name: "drover's IPsec backend", role: 'ours', start: startOurs }
export const kernelWireguard: Contestant = { name: "the kernel's WireGuard", start: startWireguard }

const both = ([one, two]: Site['ends']) =>
  [
    [one, two],
    [two, one],
  ] as const

/** 256 bits and the salt of RFC 4106. */
const key = `0x${'5a'.repeat(36)}`
const aead = `flag esn replay-window 32 aead rfc4106(gcm(aes)) ${key} 128 encap espinudp 4500 4500 0.0.0.0`

/** How packets come to the SAs: a route, and what states and policies have besides. */
interface Way {
  readonly suffix: string
  readonly lines: (own: End, peer: End) => readonly string[]
}

/** By policies alone, without an interface. */
const byPolicies: Way = {
  suffix: '',
  lines: (own, peer) => [`ip route add ${peer.inner}/32 dev w0 src ${own.inner} mtu 1400`],
}

/** By an interface that states and policies are tied to, as ours are. */
const byInterface: Way = {
  suffix: ' if_id 7',
  lines: (own, peer) => [
    'ip link add x0 type xfrm if_id 7',
    'ip link set dev x0 mtu 1400 up',
    `ip route add ${peer.inner}/32 dev x0 src ${own.inner}`,
  ],
}

async function startRaw(site: Site, { suffix, lines }: Way) {
  for (const [own, peer] of both(site.ends)) {
    site.engine(own, [node, join(root, 'bench', 'peers', 'esp-socket.ts')])
    await own.space.sh(`ip addr add ${own.inner}/32 dev lo`)
    for (const line of lines(own, peer)) await own.space.sh(line)
    for (const [from, to, spi, direction] of [
      [own, peer, spiOf(own), 'out'],
      [peer, own, spiOf(peer), 'in'],
    ] as const) {
      const way = `src ${from.outer} dst ${to.outer} proto esp`
      await own.space.sh(`ip xfrm state add ${way} spi ${spi} mode tunnel ${aead}${suffix}`)
      const selector = `src ${from.inner}/32 dst ${to.inner}/32 dir ${direction}`
      await own.space.sh(`ip xfrm policy add ${selector} tmpl ${way} mode tunnel${suffix}`)
    }
  }
  return { target: site.ends[1].inner, pids: [] }
}

const spiOf = ({ name }: End): string => (name === 'one' ? '0x1001' : '0x1002')

async function startOurs(site: Site) {
  const authority = authorityIn(join(site.ends[0].folder, 'ca'))
  const [one, two] = site.ends.map(({ space, folder }, at) => {
    const host = new IpsecHost(space, folder, authority, { number: at + 1, esp: 'kernel' })
    site.scene.atEnd(() => void host.close())
    return host
  })
  if (one === undefined || two === undefined) throw new TypeError('a pair has two ends')
  for (const host of [one, two]) await host.space.sh(`ip addr add ${host.managed}/32 dev lo`)
  await Promise.all([one.start(), two.start()])
  await connect(one, two)
  await connect(two, one)
  await meet(one, two)
  await carried(one, two)
  return { target: two.managed, pids: [] }
}

async function startWireguard(site: Site) {
  const keys = await Promise.all(
    site.ends.map(async (end) => {
      const secret = await must(['wg', 'genkey'])
      return { file: site.file(end, 'key', secret), public: await must(['wg', 'pubkey'], { input: secret }) }
    }),
  )
  for (const [at, [own, peer]] of both(site.ends).entries()) {
    await own.space.sh('ip link add wg0 type wireguard')
    const other = `peer ${keys[1 - at]?.public} allowed-ips ${peer.inner}/32 endpoint ${peer.outer}:51820`
    await own.space.sh(`wg set wg0 private-key ${keys[at]?.file} listen-port 51820 ${other}`)
    await own.space.sh(`ip addr add ${own.inner}/24 dev wg0`)
    await own.space.sh('ip link set dev wg0 up mtu 1420')
  }
  return { target: site.ends[1].inner, pids: [] }
}
