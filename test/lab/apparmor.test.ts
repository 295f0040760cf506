/**
 * AppArmor that enforces Debian's profile for charon, on Debian's kernel: the daemon says so in one line, and the line
 * that it names is all that charon needs.
 */
import { existsSync } from 'node:fs'
import { test } from 'tap'
import type { Finding } from '../../status/finding.ts'
import { vmFor, vmNeedsNightly } from '../support/vm.ts'
import { VmHost } from '../support/vm-host.ts'

const needs = existsSync('/usr/sbin/apparmor_parser') ? await vmNeedsNightly() : { skip: 'needs apparmor' }

const profile = '/etc/apparmor.d/usr.sbin.charon-systemd'
const additions = '/etc/apparmor.d/local/usr.sbin.charon-systemd'

const enforce = `set -e
mountpoint -q /sys/kernel/security || mount -t securityfs securityfs /sys/kernel/security
: >${additions}
sed -i 's/complain,//' ${profile}
apparmor_parser -r ${profile}
grep charon-systemd /sys/kernel/security/apparmor/profiles`

const configured = ({ folder }: VmHost): string => `set -e
ip netns add a
ip -n a link set lo up
ip -n a link add eth0 type dummy
ip -n a addr add 192.0.2.1/24 dev eth0
ip -n a link set eth0 up
: >/run/resolv.conf
mkdir -p ${folder}
cat >${folder}/drover.yaml <<END
state: ${folder}/state
run: ${folder}
host: {name: a, address: 192.0.2.1}
docker: {host: 'unix://${folder}/no-docker.sock'}
dns: {resolvConf: /run/resolv.conf}
tunnel: {sockets: ${folder}/wireguard}
END`

test('AppArmor in the way of charon', { ...needs, timeout: 1_200_000 }, async (t) => {
  const vm = await vmFor(t, { seconds: 1190 })
  t.match(await vm.must(enforce), /charon-systemd \(enforce\)/)
  const host = new VmHost(vm, 'a', '192.0.2.1')
  await vm.must(configured(host))
  await host.start('--init')
  const isOurs = ({ what }: Finding): boolean => what.includes('AppArmor')
  const { problems, ipsec } = await host.status('AppArmor', (status) => status.problems.some(isOurs))
  t.match(ipsec, { esp: null, running: false, reason: "AppArmor keeps charon out of Drover's folders" })
  const found = problems.find(isOurs)
  t.match(found, { remedy: /apparmor_parser -r .*; WireGuard carries meanwhile$/ })
  const [, line = ''] = /add `([^`]+)` to/.exec(found?.what ?? '') ?? []
  t.match(line, `${host.folder}/** rw,`)

  await vm.must(`printf '%s\\n' '${line}' >${additions}; apparmor_parser -r ${profile}`)
  const mended = await host.status('charon', (status) => status.ipsec.running)
  t.notOk(mended.problems.some(isOurs))
  const confined = await vm.must('cat /proc/$(pidof charon-systemd)/attr/current')
  t.match(confined, /charon-systemd \(enforce\)/, 'it runs, and the profile holds it')
})
