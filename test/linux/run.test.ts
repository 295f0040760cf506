/** Programs, and the kernel's door built on them: ip, nft, iptables, sysctl, netns. */
import { readFileSync } from 'node:fs'
import { test } from 'tap'
import { CommandIp } from '../../linux/ip.ts'
import { ProcNetns } from '../../linux/netns.ts'
import { CommandNft } from '../../linux/nft.ts'
import { SystemRunner } from '../../linux/run.ts'
import { SystemSysctl } from '../../linux/sysctl.ts'
import { millis } from '../../model/time.ts'
import { NetnsWorld, needsRoot, until } from '../support/netns.ts'

/** State, parent, process group: what follows the name in parentheses. */
const groupOf = (stat: string): readonly string[] => stat.slice(stat.lastIndexOf(')') + 2).split(' ')

test('programs', async (t) => {
  const runner = new SystemRunner({}, {})
  t.equal(await runner.run(['cat'], { input: 'text' }), 'text')
  t.equal(await runner.run(['echo', '$HOME; rm']), '$HOME; rm\n', 'no shell')
  await t.rejects(runner.run(['ls', '/no/such']), {
    code: 'COMMAND_FAILED',
    fields: { command: 'ls /no/such', status: 2, reason: /No such file/ },
  })
  t.match(await runner.attempt(['no-such-program']), { status: 127 })
  const [, , group] = groupOf(await runner.run(['cat', '/proc/self/stat']))
  const [, , own] = groupOf(readFileSync('/proc/self/stat', 'utf8'))
  t.not(group, own, "a terminal's Ctrl-C, which goes to a process group, does not reach it")
  await t.rejects(runner.run(['no-such-program']), {
    code: 'COMMAND_FAILED',
    fields: { reason: 'command not found' },
  })
  await t.rejects(runner.run(['sleep', '60'], { timeout: millis(50) }), {
    code: 'COMMAND_FAILED',
    fields: { reason: /too long/ },
  })
  const short = new SystemRunner({}, { limit: 1000 })
  await t.rejects(short.run(['yes']), { code: 'COMMAND_FAILED', fields: { reason: 'it says too much' } })
  t.equal(await runner.run(['true'], { input: 'x'.repeat(1_000_000) }), '', 'unread input is no fault')
})

test('in a namespace', needsRoot, async (t) => {
  const world = await NetnsWorld.open()
  t.teardown(() => world.close())
  const host = await world.netns('linux')
  const { runner } = host
  const ip = new CommandIp({ runner }, {})
  const nft = new CommandNft({ runner }, {})

  await t.test('ip reads and writes', async (t) => {
    await ip.batch([])
    await ip.batch([
      'link add one type veth peer name two',
      'link set dev one alias some/alias',
      'link set dev one up',
      'addr add 10.1.0.1/24 dev one label one:x',
      'neigh replace 10.1.0.9 lladdr 02:00:00:00:00:01 dev one nud permanent',
      'route add unreachable 10.2.0.0/16 metric 4278198272 proto 208',
    ])
    const links = await ip.links()
    const one = links.find(({ name }) => name === 'one')
    t.match(one, {
      kind: 'veth',
      alias: 'some/alias',
      up: true,
      carrier: false,
      addresses: [{ bits: 24, label: 'one:x' }],
    })
    const wall = { to: '10.2.0.0/16', type: 'unreachable', protocol: '208', metric: 4278198272 }
    t.match(
      (await ip.routes()).find(({ to }) => to === '10.2.0.0/16'),
      wall,
    )
    t.match(await ip.neighbours(), [{ device: 'one', mac: '02:00:00:00:00:01', permanent: true }])
    await t.rejects(ip.batch(['link set dev one up', 'link set dev none up']), {
      code: 'COMMAND_FAILED',
      fields: { command: 'ip link set dev none up', reason: /Cannot find device/ },
    })
    await t.rejects(ip.batch(['link show\nlink del one']), { code: 'COMMAND_FAILED' })
  })

  await t.test('nft is all or nothing', async (t) => {
    t.equal(await nft.table('inet', 'some'), undefined)
    await nft.apply('')
    await nft.apply(
      'table inet some { set pairs { type ifname . ipv4_addr; elements = { "a" . 10.0.0.1 } }\nchain c { tcp dport 1 drop\n}\n }',
    )
    await t.rejects(nft.apply('add chain inet some d\nadd element inet some nothing { 1 }'), {
      code: 'COMMAND_FAILED',
    })
    const table = await nft.table('inet', 'some')
    t.same(table, { chains: ['c'], rules: 1, sets: new Map([['pairs', ['a . 10.0.0.1']]]) })
    t.same(await nft.tables('inet'), ['some'])
  })

  await t.test('sysctl and namespaces', async (t) => {
    const sysctl = new SystemSysctl({ runner }, {})
    await sysctl.write('net/ipv4/conf/lo/forwarding', '1')
    t.equal(await sysctl.read('net/ipv4/conf/lo/forwarding'), '1')
    const own = new SystemSysctl({ runner: new SystemRunner({}, {}) }, {})
    t.match(await own.read('net/ipv4/ip_forward'), /^[01]$/)
    await t.rejects(own.write('net/ipv4/conf/none/forwarding', '1'), { code: 'COMMAND_FAILED' })
    const container = await world.container(host)
    const netns = new ProcNetns()
    const space = netns.open(container.pid)
    t.equal(space?.inode, container.inode)
    await container.kill()
    await until('the end of the process', () => netns.open(container.pid) === undefined)
    t.match(await ip.links({ netns: space?.path ?? '' }), [{ name: 'lo' }], 'held open')
    space?.close()
  })
})
