/**
 * What needs a kernel and an init that the build machines do not have: the units on a real systemd, and our
 * userspace tunnel against the kernel's WireGuard. One virtual machine per subject (lab/vm).
 */
import { test } from 'tap'
import { until } from '../../lab/command.ts'
import { root } from '../../lab/layout.ts'
import { cpio, folder, program } from '../../lab/vm/cpio.ts'
import { loadOrder } from '../../lab/vm/initramfs.ts'
import type { Vm } from '../../lab/vm/machine.ts'
import type { StatusView } from '../../status/status.ts'
import { vmFor, vmNeedsNightly } from '../support/vm.ts'

const needs = await vmNeedsNightly()
const patience = 600_000

const install = `
mkdir -p /opt/drover && mount --bind '${root}' /opt/drover && cd /opt/drover
cp systemd/*.service systemd/*.path /etc/systemd/system/
mkdir /etc/systemd/system/drover.service.d
printf '[Service]\\nWatchdogSec=20\\nTimeoutStartSec=900\\nEnvironment=DROVER_TUNNEL_ENGINE=userspace\\n' >/etc/systemd/system/drover.service.d/test.conf
systemctl daemon-reload
bin/drover init`

const show = (vm: Vm, unit: string, property: string): Promise<string> =>
  vm.must(`systemctl show -p ${property} --value ${unit}`)

/** What asks for the successor works; the successor does not. */
const brokenReload = `
cat >/run/broken.mjs <<'END'
if (!process.argv.includes('--replace')) process.exit(3)
const { tunnelMain } = await import('/opt/drover/tunnel/userspace/main.ts')
process.exitCode = await tunnelMain(process.argv.slice(2), process.env)
END
mkdir -p /etc/systemd/system/drover-tunnel.service.d
cat >/etc/systemd/system/drover-tunnel.service.d/broken.conf <<'END'
[Service]
ExecReload=
ExecReload=/opt/drover/node_modules/.bin/node /run/broken.mjs --replace drover0
END
systemctl daemon-reload`

/** The pid of a unit that is active again as another process. */
const another = (vm: Vm, unit: string, before: string): Promise<string> =>
  until(
    `${unit} to be back`,
    async () => {
      const shown = await vm.must(`systemctl show -p MainPID,ActiveState ${unit}`)
      const [, pid = '0'] = /MainPID=(\d+)/.exec(shown) ?? []
      return pid !== '0' && pid !== before && shown.includes('ActiveState=active') ? pid : undefined
    },
    // Each look takes the processor from what is waited for.
    { patience, every: 3000 },
  )

/** Once a process is no more. */
const gone = (vm: Vm, pid: string): Promise<true> =>
  until(
    'the predecessor to be gone',
    async () => (await vm.run(`test -e /proc/${pid}`)).code !== 0 || undefined,
    { patience, every: 3000 },
  )

/** Once the tunnel's process answers, as its status is asked by `wg`. */
const tunnelKey = (vm: Vm): Promise<string> =>
  until(
    'the tunnel to have its key',
    async () => {
      const { stdout } = await vm.run('wg show drover0 public-key')
      return /^[\w+/]{43}=$/.test(stdout.trim()) ? stdout.trim() : undefined
    },
    { patience, every: 3000 },
  )

/** Restarts the daemon with another engine, and waits until the device is of that kind. */
async function engineOf(vm: Vm, engine: string, kind: string): Promise<void> {
  const file = '/etc/systemd/system/drover.service.d/test.conf'
  await vm.must(
    `sed -i 's/ENGINE=.*/ENGINE=${engine}/' ${file}; systemctl daemon-reload; systemctl restart drover`,
  )
  await until(
    `drover0 to be of kind ${kind}`,
    async () => (await vm.run('ip -d link show dev drover0')).stdout.includes(` ${kind} `) || undefined,
    { patience, every: 3000 },
  )
}

/** As `drover status --json` asks, whose program takes an emulated processor long to load. */
const askStatus = 'curl -sf --unix-socket /run/drover/drover.sock http://drover/v1/status'

/** What the daemon says of its part in IPsec, once that is so. */
const ipsecRuns = (vm: Vm): Promise<StatusView['ipsec']> =>
  until(
    'IPsec to run',
    async () => {
      const { stdout } = await vm.run(askStatus)
      const ipsec = stdout === '' ? undefined : (JSON.parse(stdout) as StatusView).ipsec
      return ipsec?.running ? ipsec : undefined
    },
    { patience, every: 3000 },
  )

const device = (vm: Vm): Promise<string> => vm.must('cat /sys/class/net/drover0/ifindex')

test('the archive that the kernel starts from', (t) => {
  const made = Buffer.from(cpio([folder('bin'), program('init', Buffer.from('#!x'))]))
  t.equal(made.length % 4, 0)
  t.match(made.toString('latin1'), /^070701[0-9A-Fa-f]{104}bin\0/)
  t.match(made.toString('latin1'), /TRAILER!!!/)
  const dependencies = 'kernel/b.ko: kernel/a-x.ko\nkernel/a-x.ko:\nkernel/c.ko: kernel/b.ko kernel/a-x.ko\n'
  t.strictSame(loadOrder(dependencies, ['c', 'unknown']), ['kernel/a-x.ko', 'kernel/b.ko', 'kernel/c.ko'])
  t.end()
})

test('the units on a real systemd', { ...needs, timeout: 2_700_000 }, async (t) => {
  const vm = await vmFor(t, { systemd: true, seconds: 2690 })
  t.match(await vm.must(install), /created the environment default/)

  await t.test('they are well-formed and hardened', async (t) => {
    const { code, stdout, stderr } = await vm.run(
      'systemd-analyze verify drover.service drover-tunnel.service drover-ipsec.service drover-ipsec.path',
    )
    t.strictSame([code, stdout, stderr], [0, '', ''])
    const scores = await vm.must(
      'for one in drover drover-tunnel drover-ipsec; do systemd-analyze security --no-pager $one | tail -1; done',
    )
    t.comment(scores)
    const levels = [...scores.matchAll(/service: ([\d.]+)/g)].map((match) => Number(match[1]))
    t.equal(levels.length, 3)
    t.ok(
      levels.every((level) => level < 4),
      scores,
    )
  })

  await t.test('READY=1 comes when it serves, under all restrictions', async (t) => {
    const since = performance.now()
    await vm.must('systemctl enable --now drover-tunnel drover')
    t.comment(`active after ${((performance.now() - since) / 1000).toFixed(1)} s`)
    t.equal(await show(vm, 'drover', 'StatusText'), 'serving')
    const status = JSON.parse(await vm.must(askStatus)) as StatusView
    t.match(status, { environment: 'default', store: { kind: 'embedded', connected: true } })
    await tunnelKey(vm)
    t.match(await vm.must('ip -o addr show dev lo'), /169\.254\.169\.250\/32[\s\S]*10\.42\.\d+\.\d+\/32/)
    const pid = await show(vm, 'drover', 'MainPID')
    t.match(await vm.must(`grep CapBnd /proc/${pid}/status`), /\s0*283402$/, 'the capabilities of the unit')
  })

  await t.test('the IKE daemon is started once it is configured, and again when it is killed', async (t) => {
    t.match(await ipsecRuns(vm), { esp: 'kernel', running: true })
    const charon = await show(vm, 'drover-ipsec', 'MainPID')
    t.match(await vm.must(`cat /proc/${charon}/comm`), /^charon-systemd/)
    t.match(await vm.must(`grep CapBnd /proc/${charon}/status`), /\s0*3400$/, 'the capabilities of the unit')
    await vm.must(`kill -9 ${charon}`)
    await another(vm, 'drover-ipsec', charon)
    t.match(await ipsecRuns(vm), { esp: 'kernel', running: true })
  })

  await t.test('kill -9 of the daemon: it is back, tunnel and IKE daemon untouched', async (t) => {
    const [daemon, charon, tunnel, index] = await Promise.all([
      show(vm, 'drover', 'MainPID'),
      show(vm, 'drover-ipsec', 'MainPID'),
      show(vm, 'drover-tunnel', 'MainPID'),
      device(vm),
    ])
    await vm.must(`kill -9 ${daemon}`)
    const back = await another(vm, 'drover', daemon)
    t.not(back, daemon)
    t.equal(await show(vm, 'drover-tunnel', 'MainPID'), tunnel, 'the same tunnel process')
    t.equal(await show(vm, 'drover-ipsec', 'MainPID'), charon, 'the same IKE daemon')
    t.equal(await device(vm), index, 'the same device')
  })

  await t.test('a hung daemon is ended by the watchdog', async (t) => {
    const daemon = await show(vm, 'drover', 'MainPID')
    await vm.must(`kill -STOP ${daemon}`)
    await another(vm, 'drover', daemon)
    t.match(await vm.must('journalctl --no-pager -o cat -u drover'), /Watchdog timeout/)
  })

  await t.test('kill -9 of the tunnel: back with its key and device', async (t) => {
    const [tunnel, index, key] = await Promise.all([
      show(vm, 'drover-tunnel', 'MainPID'),
      device(vm),
      tunnelKey(vm),
    ])
    await vm.must(`kill -9 ${tunnel}`)
    await another(vm, 'drover-tunnel', tunnel)
    t.equal(await tunnelKey(vm), key)
    t.equal(await device(vm), index, 'the same device')
  })

  await t.test("to the kernel's engine and back: the tunnel's unit stands by and takes over", async (t) => {
    const key = await tunnelKey(vm)
    await engineOf(vm, 'auto', 'wireguard')
    const journal = () => vm.must('journalctl --no-pager -o cat -u drover-tunnel')
    await until('the unit to stand by', async () => (await journal()).includes('stands by') || undefined, {
      patience,
      every: 3000,
    })
    t.equal(await tunnelKey(vm), key, 'the same key')
    await engineOf(vm, 'userspace', 'tun')
    t.match(await journal(), /takes over/)
    t.equal(await tunnelKey(vm), key)
  })

  await t.test('a reload gives the tunnel to a new process', async (t) => {
    await until(
      'the tunnel in userspace',
      async () => ((await vm.run('test -S /run/wireguard/drover0.sock')).code === 0 ? true : undefined),
      { patience, every: 3000 },
    )
    const [index, key, restarts, daemon] = await Promise.all([
      device(vm),
      tunnelKey(vm),
      show(vm, 'drover-tunnel', 'NRestarts'),
      show(vm, 'drover', 'MainPID'),
    ])
    for (const round of ['first', 'second']) {
      const before = await show(vm, 'drover-tunnel', 'MainPID')
      await vm.must('systemctl reload drover-tunnel')
      const pid = await another(vm, 'drover-tunnel', before)
      t.match(await vm.must(`grep CapBnd /proc/${pid}/status`), /\s0*1000$/, `${round}: in the same sandbox`)
      t.equal(await tunnelKey(vm), key)
      await gone(vm, before)
    }
    t.equal(await device(vm), index, 'the same device')
    t.equal(await show(vm, 'drover-tunnel', 'NRestarts'), restarts, 'systemd started none')
    t.equal(await show(vm, 'drover', 'MainPID'), daemon)
    const follows = async () => {
      const said = await vm.must('journalctl --no-pager -o cat -u drover')
      return said.split('the tunnel process answers again').length === 3 || undefined
    }
    await until('the daemon to follow', follows, { patience, every: 3000 })
  })

  await t.test('a reload gives the daemon to a new process', async (t) => {
    const [before, restarts] = await Promise.all([
      show(vm, 'drover', 'MainPID'),
      show(vm, 'drover', 'NRestarts'),
    ])
    await vm.must('systemctl reload drover')
    await another(vm, 'drover', before)
    t.equal(await show(vm, 'drover', 'ActiveState'), 'active')
    await gone(vm, before)
    t.equal(await show(vm, 'drover', 'NRestarts'), restarts, 'systemd started none')
    await vm.must('node cli/main.ts status --json || test $? = 1')
  })

  await t.test('a reload to code that does not run changes nothing', async (t) => {
    const before = await show(vm, 'drover-tunnel', 'MainPID')
    await vm.must(brokenReload)
    t.not((await vm.run('systemctl reload drover-tunnel')).code, 0)
    t.equal(await show(vm, 'drover-tunnel', 'MainPID'), before)
    t.equal(await show(vm, 'drover-tunnel', 'ActiveState'), 'active')
    t.match(await vm.must('journalctl --no-pager -o cat -u drover-tunnel'), /the tunnel stays here/)
    await tunnelKey(vm)
  })

  await t.test('stopping leaves routes, addresses and rules', async (t) => {
    await vm.must('systemctl stop drover')
    t.equal(await show(vm, 'drover', 'Result'), 'success')
    t.match(await vm.must('ip route show type unreachable'), /10\.42\.0\.0\/16/)
    t.match(await vm.must('nft list tables'), /inet drover_default/)
    t.equal(await show(vm, 'drover-tunnel', 'ActiveState'), 'active')
  })
})

const peers = `
set -e
modprobe wireguard
for n in a b; do ip netns add $n; ip -n $n link set lo up; wg genkey >/run/$n.key; wg pubkey </run/$n.key >/run/$n.pub; done
ip link add ea netns a type veth peer name eb netns b
ip -n a addr add 192.0.2.1/24 dev ea; ip -n a link set ea up
ip -n b addr add 192.0.2.2/24 dev eb; ip -n b link set eb up
ip -n a link add wg0 type wireguard
nsenter --net=/run/netns/b node cli/main.ts tunnel -f wg1 >/run/tunnel.log 2>&1 &
until wg show wg1 >/dev/null 2>&1; do kill -0 $! || { cat /run/tunnel.log; exit 1; }; sleep 0.2; done
ip netns exec a wg set wg0 private-key /run/a.key listen-port 1000 peer "$(cat /run/b.pub)" allowed-ips 10.9.0.2/32 endpoint 192.0.2.2:1000
ip netns exec b wg set wg1 private-key /run/b.key listen-port 1000 peer "$(cat /run/a.pub)" allowed-ips 10.9.0.1/32 endpoint 192.0.2.1:1000
ip -n a addr add 10.9.0.1/24 dev wg0; ip -n a link set wg0 up
ip -n b addr add 10.9.0.2/24 dev wg1; ip -n b link set wg1 up`

test("our tunnel against the kernel's WireGuard", { ...needs, timeout: 300_000 }, async (t) => {
  const vm = await vmFor(t, { seconds: 290 })
  await vm.must(peers)
  const ping = (from: string, to: string, ...flags: string[]): Promise<string> =>
    vm.must(`ip netns exec ${from} ping -c 3 -w 20 ${flags.join(' ')} ${to}`)
  t.match(await ping('b', '10.9.0.1'), / 0% packet loss/, 'ours begins')
  t.match(await ping('a', '10.9.0.2'), / 0% packet loss/)
  t.match(await ping('a', '10.9.0.2', '-s', '1392', '-M', 'do'), / 0% packet loss/, 'the largest packet')
  // The kernel forgets its session, so that it begins the next one.
  await vm.must('ip -n a link set wg0 down; ip -n a link set wg0 up')
  t.match(await ping('a', '10.9.0.2'), /[1-3] received/, "the kernel's begins")
  const transfer = await vm.must('ip netns exec a wg show wg0 transfer; ip netns exec b wg show wg1 transfer')
  t.ok(
    transfer.split('\n').every((line) => /\t[1-9]\d+\t[1-9]\d+$/.test(line)),
    transfer,
  )
  const tcp = await vm.must(
    `ip netns exec a iperf3 -s -1 -D
    until ip netns exec a ss -Hltn | grep -q :5201; do sleep 0.1; done
    ip netns exec b iperf3 -c 10.9.0.1 -n 20M -J`,
  )
  t.match(JSON.parse(tcp), { end: { sum_received: { bytes: Number } } }, 'TCP with large segments')
})
