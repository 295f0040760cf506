/**
 * Two environments as services of one machine, on a real systemd: the templates with the names that `drover init`
 * prints, each beside the units of `default`, none in the way of the other.
 */
import { test } from 'tap'
import { root } from '../../lab/layout.ts'
import type { Vm } from '../../lab/vm/machine.ts'
import type { DoctorView } from '../../status/doctor.ts'
import type { StatusView } from '../../status/status.ts'
import { vmFor, vmNeedsNightly } from '../support/vm.ts'

const needs = await vmNeedsNightly()

/** A slow machine takes long to start; the engine is ours on every kernel. */
const install = `
mkdir -p /opt/drover /etc/drover && mount --bind '${root}' /opt/drover && cd /opt/drover
cp systemd/*.service systemd/*.path /etc/systemd/system/
for unit in drover drover@; do
  mkdir -p /etc/systemd/system/$unit.service.d
  printf '[Service]\\nTimeoutStartSec=900\\n' >/etc/systemd/system/$unit.service.d/test.conf
done
systemctl daemon-reload
printf 'tunnel: { engine: userspace, backend: wireguard }\\n' >/etc/drover/drover.yaml
cat >/etc/drover/drover-shop.yaml <<'END'
tunnel: { engine: userspace, backend: wireguard, port: 52820 }
dns: { port: 11053 }
metadata: { port: 11080 }
join: { port: 52819 }
END
bin/drover init
bin/drover init --environment shop --subnet 10.43.0.0/16`

const show = (vm: Vm, unit: string, property: string): Promise<string> =>
  vm.must(`systemctl show -p ${property} --value ${unit}`)

async function drover<T>(vm: Vm, words: string): Promise<T> {
  const { stdout, stderr } = await vm.run(`cd /opt/drover; bin/drover ${words} --json`)
  if (stdout === '') throw new TypeError(stderr)
  return JSON.parse(stdout) as T
}

test('two environments as services', { ...needs, timeout: 1_800_000 }, async (t) => {
  const vm = await vmFor(t, { systemd: true, seconds: 1790 })
  const said = await vm.must(install)
  t.match(said, /created the environment default[\s\S]*created the environment shop \(10\.43\.0\.0\/16\)/)
  const [, tunnel = ''] = /systemctl start drover-tunnel@(\S+) drover@shop/.exec(said) ?? []
  t.match(tunnel, /^drv[0-9a-f]{8}$/)

  const { code, stdout, stderr } = await vm.run(
    `systemd-analyze verify drover@shop.service drover-tunnel@${tunnel}.service`,
  )
  t.strictSame([code, stdout, stderr], [0, '', ''], 'the templates are well-formed')
  await vm.must(`systemctl enable --now drover-tunnel drover drover-tunnel@${tunnel} drover@shop`)
  for (const unit of ['drover', 'drover@shop']) t.equal(await show(vm, unit, 'StatusText'), 'serving', unit)

  const [first, second] = [
    await drover<StatusView>(vm, 'status'),
    await drover<StatusView>(vm, 'status --environment shop'),
  ]
  t.match(first, {
    environment: 'default',
    subnet: '10.42.0.0/16',
    tunnel: { interface: 'drover0', running: true },
  })
  t.match(second, {
    environment: 'shop',
    subnet: '10.43.0.0/16',
    tunnel: { interface: tunnel, running: true },
  })
  t.match(await vm.must('ip -o -4 addr show dev lo'), /169\.254\.169\.250\/32/)
  t.equal(
    (await vm.must('ls /var/lib/drover/journal.db /var/lib/drover-shop/journal.db')).split('\n').length,
    2,
  )
  for (const words of ['doctor', 'doctor --environment shop']) {
    const { findings } = await drover<DoctorView>(vm, words)
    // There is no engine in this machine, and no resolver.
    const parts = new Set(findings.map(({ where }) => where))
    t.strictSame([...parts].sort(), ['dns', 'docker'], JSON.stringify(findings))
  }

  const pids = async (): Promise<readonly string[]> =>
    Promise.all(
      ['drover-tunnel', `drover-tunnel@${tunnel}`, 'drover'].map((unit) => show(vm, unit, 'MainPID')),
    )
  const before = await pids()
  await vm.must('systemctl restart drover@shop')
  t.strictSame(await pids(), before, 'neither tunnel nor the other daemon notices')
  t.equal((await drover<StatusView>(vm, 'status --environment shop')).tunnel.running, true)
})
