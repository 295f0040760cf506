/**
 * tinc 1.0 as a router, with the cipher and digest that it chooses by itself. Packets go over UDP once it has
 * found the path's MTU.
 */
import { readFileSync } from 'node:fs'
import { must } from '../../lab/command.ts'
import type { Contestant, End, Site } from '../tunnel-pair.ts'
import { versionOf } from './version.ts'

export async function tinc(): Promise<Contestant> {
  return { name: `tinc ${await versionOf('tinc')}`, start }
}

async function start(site: Site) {
  const [one, two] = site.ends
  for (const end of [one, two]) await prepare(site, end)
  for (const [end, peer] of [
    [one, two],
    [two, one],
  ] as const)
    site.file(end, `hosts/${peer.name}`, readFileSync(`${peer.folder}/hosts/${peer.name}`, 'utf8'))
  const pids = [one, two].map((end) =>
    site.engine(end, ['tincd', '-D', '-c', end.folder, `--pidfile=${end.folder}/pid`]),
  )
  return { target: two.inner, pids }
}

async function prepare(site: Site, end: End): Promise<void> {
  const peer = end.name === 'one' ? 'two' : 'one'
  const settings = [`Name = ${end.name}`, 'Mode = router', 'DeviceType = tun', 'Interface = tinc0']
  site.file(end, 'tinc.conf', [...settings, `ConnectTo = ${peer}`, ''].join('\n'))
  const up = ['ip addr add', `${end.inner}/24`, 'dev $INTERFACE && ip link set dev $INTERFACE up mtu 1400']
  site.file(end, 'tinc-up', `#!/bin/sh\n${up.join(' ')}\n`, 0o700)
  site.file(end, `hosts/${end.name}`, `Address = ${end.outer}\nSubnet = ${end.inner}/32\n`)
  await must(['tincd', '-c', end.folder, '-K', '2048'])
}
