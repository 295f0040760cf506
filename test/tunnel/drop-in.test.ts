/**
 * `drover-wireguard NAME` where people have wireguard-go: wg-quick brings it up and down, every command of `wg` works
 * on it, what is wrong is answered with an errno; and what WireGuard's own tests try on interfaces: several peers,
 * moved prefixes, forged sources, MTUs, link-local endpoints.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'tap'
import { isRoot, NetnsWorld, needsRoot, type TestNetns, until } from '../support/netns.ts'
import { gateway, outer, port, type TunnelHost, TunnelWorld } from '../support/tunnel-hosts.ts'

const executable = join(import.meta.dirname, '../../bin/drover-wireguard')
const world = isRoot ? new TunnelWorld(await NetnsWorld.open()) : undefined
/** With the kernel's WireGuard wg-quick asks for nothing else. */
const quick = existsSync('/sys/module/wireguard')
  ? { skip: 'wg-quick uses the kernel’s WireGuard here' }
  : needsRoot

function theWorld(): TunnelWorld {
  if (world === undefined) throw new TypeError('not root')
  return world
}

const keys = async (space: TestNetns) => {
  const secret = (await space.sh('wg genkey')).trim()
  return { secret, shared: (await space.runner.run(['wg', 'pubkey'], { input: `${secret}\n` })).trim() }
}

/** Runs wg-quick with our executable as what stands in for the kernel. */
function wgQuick(space: TestNetns, verb: 'up' | 'down' | 'strip', config: string): Promise<string> {
  const env = ['env', `WG_QUICK_USERSPACE_IMPLEMENTATION=${executable}`]
  return space.runner.run([...env, 'wg-quick', verb, config])
}

test('wg-quick up and down; wg show, set, showconf, setconf, addconf, syncconf', {
  ...quick,
  timeout: 60_000,
}, async (t) => {
  const { netns, folder } = theWorld()
  const [first, second] = [await netns.netns('qa'), await netns.netns('qb')]
  await netns.wire(first, 'w0 192.168.60.1/24', second, 'w0 192.168.60.2/24')
  await second.sh('ip addr add 203.0.113.7/32 dev lo')
  const [one, two] = [await keys(first), await keys(second)]
  const names = [`dtq${process.pid}a`, `dtq${process.pid}b`]
  const [a = '', b = ''] = names
  const [configA, configB] = names.map((name) => join(folder, `${name}.conf`)) as [string, string]
  writeFileSync(
    configA,
    `[Interface]\nPrivateKey = ${one.secret}\nAddress = 10.60.0.1/24, fd60::1/64\n\n[Peer]\nPublicKey = ${two.shared}\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = 192.168.60.2:${port}\n`,
    { mode: 0o600 },
  )
  writeFileSync(
    configB,
    `[Interface]\nPrivateKey = ${two.secret}\nListenPort = ${port}\nAddress = 10.60.0.2/24, fd60::2/64\nMTU = 1400\n\n[Peer]\nPublicKey = ${one.shared}\nAllowedIPs = 10.60.0.1/32, fd60::1/128\nPersistentKeepalive = 25\n`,
    { mode: 0o600 },
  )
  t.teardown(async () => {
    for (const [space, config] of [
      [first, configA],
      [second, configB],
    ] as const)
      await wgQuick(space, 'down', config).catch(() => undefined)
  })
  await wgQuick(second, 'up', configB)
  await wgQuick(first, 'up', configA)

  for (const target of ['10.60.0.2', 'fd60::2'])
    t.match(await first.sh(`ping -c 2 -i 0.05 -W 5 ${target}`), '2 received')
  t.match(await first.sh('ping -c 1 -W 5 203.0.113.7'), '1 received', 'everything goes through the tunnel')
  t.match(await second.sh(`ip link show ${b}`), 'mtu 1400')
  t.match(await first.sh(`ip link show ${a}`), 'mtu 1420')
  t.not((await first.sh(`wg show ${a} fwmark`)).trim(), 'off')
  const shown = await second.sh(`wg show ${b}`)
  for (const part of [
    `interface: ${b}`,
    `public key: ${two.shared}`,
    `listening port: ${port}`,
    `peer: ${one.shared}`,
    'endpoint: 192.168.60.1:',
    'allowed ips: 10.60.0.1/32, fd60::1/128',
    'latest handshake:',
    'transfer:',
    'persistent keepalive: every 25 seconds',
  ])
    t.match(shown, part)

  const kept = await second.sh(`wg showconf ${b}`)
  writeFileSync(join(folder, 'kept'), kept, { mode: 0o600 })
  for (const how of ['syncconf', 'setconf', 'addconf']) {
    await second.sh(`wg ${how} ${b} ${join(folder, 'kept')}`)
    t.equal(await second.sh(`wg showconf ${b}`), kept, how)
  }
  writeFileSync(join(folder, 'stripped'), await wgQuick(second, 'strip', configB), { mode: 0o600 })
  await second.sh(`wg syncconf ${b} ${join(folder, 'stripped')}`)
  t.match(await first.sh('ping -c 1 -W 10 10.60.0.2'), '1 received', 'after all of these')
  await second.sh(`wg set ${b} listen-port 51999 fwmark 7 peer ${one.shared} persistent-keepalive off`)
  t.match(await second.sh(`wg showconf ${b}`), /ListenPort = 51999\nFwMark = 0x7/)
  t.notMatch(await second.sh(`wg showconf ${b}`), 'PersistentKeepalive')
  t.match(await second.sh('ping -c 1 -W 10 10.60.0.1'), '1 received', 'from its new port')

  for (const [space, name, config] of [
    [first, a, configA],
    [second, b, configB],
  ] as const) {
    await wgQuick(space, 'down', config)
    t.notMatch(await space.sh('ip link show'), name)
    await until(`${name}.sock gone`, () => !existsSync(`/var/run/wireguard/${name}.sock`))
  }
  t.notMatch(await first.sh('ip rule show'), 'suppress_prefixlength')
})

/** The errno that lines are answered with. */
function errnoOf(device: string, lines: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(`/var/run/wireguard/${device}.sock`, () => socket.end(`${lines}\n`))
    let text = ''
    socket.on('data', (chunk) => {
      text += String(chunk)
    })
    socket.on('close', () => resolve(/errno=(-?\d+)/.exec(text)?.[1] ?? 'hung up')).on('error', reject)
  })
}

const none = '0'.repeat(64)
const faults: readonly (readonly [string, string])[] = [
  ['set=1\n', '0'],
  ['get=1\n', '0'],
  ['get=1\nmore=1\n', '-22'],
  [`set=1\nlisten_port=${port + 1}\n`, '-98'],
  ['set=1\nno equals sign\n', '-71'],
  ['hello=1\n', 'hung up'],
  ...[
    'private_key=1',
    'private_key=',
    'listen_port=65536',
    'listen_port=x',
    'fwmark=-1',
    'fwmark=4294967296',
    'replace_peers=no',
    'unknown=1',
    'public_key=xyz',
    'endpoint=1.2.3.4:5',
  ].map((line) => [`set=1\n${line}\n`, '-22'] as const),
  ...[
    'preshared_key=1',
    'endpoint=nowhere',
    'endpoint=1.2.3.4',
    'endpoint=[fe80::1%nothing]:1',
    'persistent_keepalive_interval=65536',
    'allowed_ip=10.0.0.0',
    'allowed_ip=10.0.0.0/33',
    'allowed_ip=fd00::/129',
    'allowed_ip=x/8',
    'replace_allowed_ips=false',
    'remove=false',
    'update_only=1',
    'protocol_version=2',
    'listen_port=1',
    'unknown=1',
  ].map((line) => [`set=1\npublic_key=${none}\n${line}\n`, '-22'] as const),
]

async function meet(one: TunnelHost, other: TunnelHost, at: string): Promise<void> {
  await one.peer(other, 'endpoint', `${at}:${port}`)
}

/** Three hosts whose router forwards, each a peer of the others. */
async function three(label: string): Promise<readonly [TunnelHost, TunnelHost, TunnelHost]> {
  const { router, hosts } = await theWorld().hosts(label, ['drover', 'drover', 'drover'])
  const [a, b, c] = hosts
  if (a === undefined || b === undefined || c === undefined) throw new TypeError('no hosts')
  await router.sh('sysctl -qw net.ipv4.ip_forward=1')
  for (const [index, host] of hosts.entries()) {
    await host.space.sh(`ip route add default via ${gateway(index + 1)}`)
    for (const [other, peer] of hosts.entries()) if (peer !== host) await meet(host, peer, outer(other + 1))
  }
  return [a, b, c]
}

test('as an interface', { ...needsRoot, timeout: 120_000 }, async (t) => {
  const [a, b, c] = await three('d')

  await t.test('every fault has its errno, and changes nothing', async (t) => {
    const taken = theWorld().netns.listen(a.space, 'udp', '0.0.0.0', port + 1, 'taken')
    await taken
    const before = await a.wg('showconf', a.device)
    for (const [lines, errno] of faults) t.equal(await errnoOf(a.device, lines), errno, JSON.stringify(lines))
    await t.rejects(a.wg('set', a.device, 'listen-port', String(port + 1)), /Address already in use/)
    t.equal(await a.wg('showconf', a.device), before)
  })

  await t.test('each reaches each', async (t) => {
    for (const [from, to] of [
      [a, b],
      [b, c],
      [c, a],
    ] as const) {
      t.ok(await from.ping(to.inner))
      t.ok(await from.ping(to.inner6))
    }
  })

  await t.test('a source that is not the peer’s is dropped', async (t) => {
    const capture = await theWorld().netns.capture(b.space, b.device, 'icmp')
    await a.space.sh(`ip addr add 10.99.0.77/32 dev ${a.device}`)
    t.notOk(await a.ping(b.inner, '-c 2 -i 0.05 -W 1 -I 10.99.0.77'))
    t.ok(await a.ping(b.inner, '-c 1 -W 5'))
    await capture.seen(`${a.inner} > ${b.inner}`)
    t.notOk((await capture.lines()).some((line) => line.includes('10.99.0.77')))
  })

  await t.test('a prefix has one owner, the last; the longest counts', async (t) => {
    await b.space.sh('ip addr add 10.98.0.1/32 dev lo')
    await c.space.sh('ip addr add 10.98.0.1/32 dev lo')
    await a.space.sh(`ip route add 10.98.0.0/24 dev ${a.device}`)
    const served = async (host: TunnelHost): Promise<boolean> => {
      const capture = await theWorld().netns.capture(host.space, host.device, 'icmp')
      await a.ping('10.98.0.1', '-c 1 -W 1')
      return (await capture.lines()).some((line) => line.includes('> 10.98.0.1'))
    }
    await a.peer(b, 'allowed-ips', `${b.inner}/32,10.98.0.0/24`)
    t.equal(await served(b), true)
    await a.peer(c, 'allowed-ips', `${c.inner}/32,10.98.0.1/32`)
    t.strictSame([await served(b), await served(c)], [false, true])
    await a.peer(c, 'allowed-ips', `${c.inner}/32`)
    await a.peer(c, 'allowed-ips', `${c.inner}/32,10.98.0.0/24`)
    t.match(await a.wg('show', a.device, 'allowed-ips'), `${b.publicKey}\t${b.inner}/32\n`)
    t.equal(await served(c), true)
  })

  await t.test('MTUs, large and small', async (t) => {
    for (const mtu of [1280, 1420, 1500, 8921]) {
      for (const host of [a, b]) await host.space.sh(`ip link set ${host.device} mtu ${mtu}`)
      t.ok(await a.ping(b.inner, `-c 1 -W 5 -M do -s ${Math.min(mtu, 1420) - 28}`), `${mtu}`)
      t.ok(await a.ping(b.inner, '-c 1 -W 5 -s 20000'), `${mtu}, in fragments`)
    }
  })

  await t.test('a link-local endpoint with its zone', async (t) => {
    await theWorld().netns.wire(a.space, 'x0 192.168.90.1/24', b.space, 'x0 192.168.90.2/24')
    await a.space.sh('ip addr add fe80::a/64 dev x0 nodad')
    await b.space.sh('ip addr add fe80::b/64 dev x0 nodad')
    await meet(a, b, '[fe80::b%x0]')
    t.ok(await a.ping(b.inner))
    t.match(await a.wg('show', a.device, 'endpoints'), `[fe80::b%x0]:${port}`)
    t.match(await b.wg('show', b.device, 'endpoints'), `[fe80::a%x0]:${port}`)
    t.match(await a.wg('showconf', a.device), `Endpoint = [fe80::b%x0]:${port}`)
  })

  for (const host of [a, b, c]) await host.kill()
})

test('cleaning up', async () => world?.close())
