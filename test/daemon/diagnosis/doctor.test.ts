/**
 * `drover doctor` and `drover report` as processes in a namespace of their own, on a member that has no daemon: what
 * is broken is found, what is mended is found no more, and no secret is in a report.
 */
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { t as root, type Test, test } from 'tap'
import { isTunnel } from '../../../daemon/diagnosis/held-ports.ts'
import { parseCidr, parseIpv4 } from '../../../model/ip.ts'
import { seconds } from '../../../model/time.ts'
import { rulesetOf, tableText } from '../../../network/ruleset.ts'
import type { DoctorView } from '../../../status/doctor.ts'
import { NetnsWorld, needsRoot, type TestNetns, until } from '../../support/netns.ts'

root.setTimeout(600_000)

const program = join(import.meta.dirname, '../../../cli/main.ts')
const password = 'correct-horse-battery'

/** A machine with a folder of its own, and no Docker engine. */
function machineOf(t: Test, space: TestNetns) {
  const folder = mkdtempSync(join(tmpdir(), 'dt-doctor-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const config = join(folder, 'drover.yaml')
  const settings = {
    state: join(folder, 'state'),
    run: join(folder, 'run'),
    host: { name: 'h1', address: '127.0.0.1' },
    docker: { host: `unix://${folder}/no-engine` },
    tunnel: { engine: 'userspace' },
    store: { user: 'root', password },
  }
  writeFileSync(config, JSON.stringify(settings))
  const drover = (...words: readonly string[]) =>
    space.runner.attempt([process.execPath, program, ...words, '--config', config])
  const doctor = async () => {
    const { status, stdout, stderr } = await drover('doctor', '--json')
    if (stdout === '') throw new TypeError(stderr)
    const view = JSON.parse(stdout) as DoctorView
    return { status, view, text: view.findings.map(({ where, what }) => `${where}: ${what}`).join('\n') }
  }
  return { folder, config, state: settings.state, drover, doctor }
}

test('the tunnel process is known by its interface, wherever its options stand', (t) => {
  const running = (...words: readonly string[]) => ({
    pid: 7,
    memory: 0,
    argv: ['node', '/opt/cli/wireguard.js', ...words],
  })
  for (const words of [['drover0'], ['-f', 'drover0'], ['drover0', '-f']]) {
    t.ok(isTunnel(running(...words), 'drover0'), words.join(' '))
    t.notOk(isTunnel(running(...words), 'drv1'), words.join(' '))
  }
  t.end()
})

test('without a daemon', needsRoot, async (t) => {
  const world = await NetnsWorld.open()
  t.teardown(() => world.close())
  const space = await world.netns('doctor')
  const { folder, config, state, drover, doctor } = machineOf(t, space)

  await t.test('no member yet', async (t) => {
    const { status, view, text } = await doctor()
    t.equal(status, 2)
    t.match(view, { host: 'h1', environment: 'default', daemon: false })
    t.match(text, /^daemon: the daemon does not answer/m)
    t.match(text, /^configuration: this machine has not joined an environment/m)
    t.match(text, /^docker: the Docker engine at unix:.* does not answer/m)
  })

  const { status, stderr } = await drover('init', '--subnet', '10.77.0.0/16')
  t.equal(status, 0, stderr)

  await t.test('walls, ports, networks and files', async (t) => {
    const before = await doctor()
    t.notMatch(before.text, /joined|port|overlap|chmod|could not/)
    t.match(before.text, /the nftables table drover_default is not there/)

    const [subnet, server] = [parseCidr('10.77.0.0/16'), parseIpv4('169.254.169.250')]
    if (subnet === undefined || server === undefined) throw new TypeError('no addresses')
    const ruleset = rulesetOf({ table: 'drover_default', primary: true }, subnet, {
      address: server,
      dnsPort: 10053,
      metadataPort: 10080,
    })
    await space.runner.run(['nft', '-f', '-'], { input: tableText(ruleset, new Map()) })
    t.notMatch((await doctor()).text, /nftables/)
    await space.sh('nft add rule inet drover_default forward accept')
    t.match((await doctor()).text, /nftables table drover_default has \d+ rules and should have \d+/)

    await world.listen(space, 'udp', '0.0.0.0', 10053, 'x')
    await space.sh('ip link add br0 type bridge')
    await space.sh('ip addr add 10.77.8.1/24 dev br0')
    chmodSync(join(state, 'identity.json'), 0o644)
    const after = await doctor()
    t.match(after.text, /configuration: UDP port 10053 \(dns\.port\) is held by \S+ \(process \d+\)/)
    t.match(after.text, /network: the subnet of the environment meets .*interface br0 \(10\.77\.8\.0\/24\)/)
    t.match(after.text, /identity\.json can be read by others/)
    chmodSync(join(state, 'identity.json'), 0o600)
  })

  const counts = existsSync('/proc/net/xfrm_stat') ? {} : { skip: 'this kernel does not count IPsec packets' }
  await t.test('a counter of dropped IPsec packets that moves is explained', counts, async (t) => {
    await space.sh('ip link add dummy0 type veth peer name dummy1')
    await space.sh('ip addr add 192.0.2.1/24 dev dummy0')
    await space.sh('ip link set dev dummy0 up')
    await space.sh('ip xfrm policy add dst 192.0.2.9/32 dir out action block')
    // One packet while nobody looks, then many.
    await space.runner.attempt(['ping', '-c', '1', '-W', '1', '192.0.2.9'])
    t.notMatch((await doctor()).text, /Xfrm/, 'what happened once is not happening')
    const sender = world.spawn(space, ['sh', '-c', 'while :; do ping -c 1 -W 1 192.0.2.9; sleep 0.05; done'])
    const { text } = await doctor()
    sender.kill('SIGKILL')
    t.match(text, /^tunnel: XfrmOutPolBlock moves .* a policy says to drop a packet that goes out/m)
    await space.sh('ip xfrm policy flush')
  })

  await t.test('no secret is in a report', async (t) => {
    const identity = JSON.parse(readFileSync(join(state, 'identity.json'), 'utf8')) as Record<string, string>
    const { key } = JSON.parse(readFileSync(join(state, 'authority.json'), 'utf8')) as { key: string }
    const keys = Object.values(identity)
    t.equal(keys.length, 2)
    const hexes = keys.map((text) => Buffer.from(text, 'base64').toString('hex'))
    // What a log should never say, but might.
    const leak = [...keys, ...hexes, key, `password=${password}`, 'private_key=00ff', 'drover-token-abc.def']
    writeFileSync(join(state, 'tunnel.log'), `a line of the tunnel\n${leak.join('\n')}\n`)
    const file = join(folder, 'report.txt')
    const { status, stdout } = await drover('report', file)
    t.equal(status, 0)
    t.match(stdout, /read it before you publish it/)
    t.equal(statSync(file).mode & 0o777, 0o600)
    const text = readFileSync(file, 'utf8')
    const secrets = [
      ...keys,
      ...hexes,
      ...key.split('\n').filter((line) => line.length > 30),
      password,
      '00ff',
    ]
    for (const secret of [...secrets, 'token-abc']) t.notOk(text.includes(secret), 'a secret is in it')
    t.match(text, /a line of the tunnel/)
    t.match(text, /===== machine\ndrover \d/)
    t.match(text, /===== nft list table inet drover_default\n[\s\S]*chain forward/)
    t.match(text, /the daemon does not answer/)
  })

  await t.test('files that are damaged', async (t) => {
    writeFileSync(join(state, 'trust.json'), '{')
    const broken = await doctor()
    t.equal(broken.status, 2)
    t.match(broken.text, /configuration: the certificate cannot be read: .*trust\.json/)
    rmSync(join(state, 'trust.json'))
    t.match((await doctor()).text, /trust\.json is missing/)
  })

  await t.test('a configuration that cannot be used', async (t) => {
    writeFileSync(config, 'tunel:\n  port: 1\n')
    const { status, view, text } = await doctor()
    t.equal(status, 2)
    t.equal(view.daemon, false)
    t.match(text, /^configuration: .*drover\.yaml:1: unknown key `tunel`, did you mean `tunnel`/)
    t.match((await drover('report')).stdout, /unknown key `tunel`/)
  })
})

test('two environments that want the same ports', needsRoot, async (t) => {
  const world = await NetnsWorld.open()
  t.teardown(() => world.close())
  const space = await world.netns('ports')
  const folder = mkdtempSync(join(tmpdir(), 'dt-ports-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const argvOf = (environment: string, ...words: readonly string[]) => {
    const own = join(folder, environment)
    return [
      ...[process.execPath, program, ...words, '--environment', environment, '--config', '/dev/null'],
      ...['--state', `${own}/state`, '--run', `${own}/run`, '--tunnel-sockets', `${own}/wg`],
      ...['--docker-host', `unix://${folder}/no-engine`, '--host-address', '127.0.0.1'],
      ...['--tunnel-engine', 'userspace'],
    ]
  }
  const drover = (environment: string, ...words: readonly string[]) =>
    space.runner.attempt(argvOf(environment, ...words), { timeout: seconds(60) })
  const found = async (environment: string): Promise<string> => {
    const { stdout } = await drover(environment, 'doctor', '--json')
    return (JSON.parse(stdout) as DoctorView).findings.map(({ what }) => what).join('\n')
  }
  await drover('default', 'init', '--subnet', '10.77.0.0/16')
  await drover('shop', 'init', '--subnet', '10.78.0.0/16')
  await drover('late', 'init', '--subnet', '10.77.8.0/24')
  const daemon = world.spawn(space, argvOf('default', 'daemon'))
  await until('the daemon', async () => (await drover('default', 'status')).status === 1, 60_000)

  const second = await drover('shop', 'daemon')
  t.equal(second.status, 2)
  t.match(second.stderr, /169\.254\.169\.250 port 10053: .*EADDRINUSE.*set dns\.port/)
  const text = await found('shop')
  t.match(
    text,
    /UDP port 51820 \(tunnel\.port\) is held by the tunnel drover0 of another environment \(process \d+\)/,
  )
  t.match(text, /TCP port 10080 \(metadata\.port\) is held by a Drover daemon of another environment/)
  t.notMatch(await found('default'), / is held by /)

  const third = await drover('late', 'daemon')
  t.equal(third.status, 2)
  t.match(third.stderr, /10\.77\.8\.0\/24 overlaps the environment default of this machine/)
  t.match(await found('late'), /meets another network: .*the environment default of this machine/)

  const ended = once(daemon, 'exit')
  daemon.kill('SIGTERM')
  await ended
  for (const environment of ['default', 'shop']) {
    const { status, stderr } = await drover(environment, 'daemon', '--leave')
    t.equal(status, 0, stderr)
  }
})
