/**
 * Views as text for a terminal: aligned tables, one fact per line, no colours.
 */
import type { Explained } from '../model/explained.ts'
import type { ContainerView, HostView, StatusView } from '../status/status.ts'

/** Columns as wide as their widest cell; the last is left ragged. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows]
  const widths = head.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0)))
  return all
    .map((row) =>
      row.map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0))).join('  '),
    )
    .join('\n')
}

const orDash = (value: string | null): string => value ?? '-'
const yes = (value: boolean): string => (value ? 'yes' : 'no')

export function containersText(containers: readonly ContainerView[]): string {
  const rows = containers.map((one) => [
    one.id.slice(0, 12),
    one.name,
    one.service === null ? orDash(one.stack) : `${one.stack}/${one.service}`,
    orDash(one.address),
    one.host,
    one.health === 'none' ? one.state : `${one.state} (${one.health})`,
    one.problems.join('; '),
  ])
  return table(['CONTAINER', 'NAME', 'SERVICE', 'ADDRESS', 'HOST', 'STATE', 'PROBLEM'], rows)
}

export function hostsText(hosts: readonly HostView[]): string {
  const rows = hosts.map((one) => [
    one.name,
    one.endpoint,
    orDash(one.managed),
    yes(one.alive),
    one.reachability,
    one.blocks.join(','),
    one.backend || '-',
    one.engine || '-',
    one.docker || '-',
  ])
  return table(
    ['HOST', 'ENDPOINT', 'MANAGED', 'ALIVE', 'TUNNEL', 'BLOCKS', 'BACKEND', 'ENGINE', 'DOCKER'],
    rows,
  )
}

/** What our userspace engine says of itself; nothing for any other. */
function factsText({ facts }: StatusView['tunnel']): readonly string[] {
  if (facts === null) return []
  const named = (state: string): string =>
    Object.entries(facts.offloads)
      .filter(([, one]) => one === state)
      .map(([name]) => name)
      .join(' ')
  const [on, refused, off] = ['on', 'refused', 'off'].map(named)
  const parts = [
    facts.aead === facts.handshakes ? facts.aead : `${facts.aead}, handshakes ${facts.handshakes}`,
    `uses ${on || 'no offload'}`,
    ...(refused ? [`refused ${refused}`] : []),
    ...(off ? [`switched off ${off}`] : []),
    facts.ipv6 ? 'IPv4 and IPv6' : 'IPv4 only',
  ]
  return [`engine       ${parts.join('; ')}`]
}

const ipsecText = ({ esp, running, reason, perCpu }: StatusView['ipsec']): string => {
  if (esp === null) return `none: ${reason}`
  const who = esp === 'kernel' ? 'by the kernel' : 'by charon itself'
  const sas = perCpu ? 'SAs per processor' : 'one SA per peer (none per processor)'
  return `${who}, charon ${running ? 'running' : 'NOT RUNNING'}, ${sas}`
}

export function statusText(status: StatusView): string {
  const facts = [
    `host         ${status.host} (${status.id})`,
    `environment  ${status.environment}, ${status.subnet}, revision ${status.revision}`,
    `address      ${orDash(status.managed)}`,
    `store        ${status.store.kind}, ${status.store.connected ? 'connected' : 'NOT CONNECTED: going on with the last snapshot'}`,
    `docker       ${status.docker.endpoint}, ${status.docker.connected ? `connected, ${status.docker.version}` : 'NOT CONNECTED'}`,
    `tunnel       ${status.tunnel.interface}, ${status.tunnel.engine} (${status.tunnel.reason}), MTU ${status.tunnel.mtu}, ${status.tunnel.running ? 'running' : 'NOT RUNNING'}`,
    ...factsText(status.tunnel),
    `ipsec        ${ipsecText(status.ipsec)}`,
    `dns          ${status.servers.dns}`,
    `metadata     ${status.servers.metadata}`,
    `containers   ${status.containers} on this host`,
  ]
  const peers = status.peers.map((one) => [
    one.host,
    one.endpoint,
    one.backend,
    one.engine,
    one.reachability,
    one.pathMtu === null ? '-' : `${one.pathMtu}`,
    yes(one.preshared),
    orDash(one.lastHandshake),
    `${one.received}`,
    `${one.sent}`,
    one.reason,
  ])
  const problems = status.problems.map(({ what, remedy }) => `! ${what}; ${remedy}`)
  return [
    facts.join('\n'),
    ...(peers.length === 0
      ? []
      : [
          '',
          table(
            [
              ...['PEER', 'ENDPOINT', 'BACKEND', 'ENGINE', 'TUNNEL', 'MTU', 'PSK'],
              ...['LAST HANDSHAKE', 'RECEIVED', 'SENT', 'BECAUSE'],
            ],
            peers,
          ),
        ]),
    ...(problems.length === 0 ? [] : ['', ...problems]),
  ].join('\n')
}

export function explainedText(explained: Explained): string {
  const facts = [
    `name     ${explained.name}`,
    `asker    ${explained.asker}, searching ${explained.search.join(' ')}`,
    `rule     ${explained.rule}`,
    `is       ${orDash(explained.found)}`,
    ...explained.answer.map((line) => `answer   ${line}`),
  ]
  if (explained.containers.length === 0) return facts.join('\n')
  const rows = explained.containers.map((one) => [
    one.name,
    one.host,
    orDash(one.address),
    one.given ? 'given' : 'left out',
    one.why,
  ])
  return [...facts, '', table(['CONTAINER', 'HOST', 'ADDRESS', 'ANSWER', 'BECAUSE'], rows)].join('\n')
}
