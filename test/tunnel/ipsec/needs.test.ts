/**
 * What is in the way of charon, from what a machine and a charon say.
 */
import { test } from 'tap'
import { DroverError } from '../../../model/errors.ts'
import { pluginsFor } from '../../../tunnel/ipsec/charon-conf.ts'
import { espMissing } from '../../../tunnel/ipsec/esp-probe.ts'
import { charonFault, type Machine, machineFault, ownerOf } from '../../../tunnel/ipsec/needs.ts'

const sockets = `UNCONN 0      0            0.0.0.0:500       0.0.0.0:*    users:(("charon-systemd",pid=71,fd=10))
UNCONN 0      0               [::]:4500         [::]:*    users:(("charon-systemd",pid=71,fd=13))
UNCONN 0      0            0.0.0.0:51820      0.0.0.0:*
`
const machine: Machine = {
  program: '/usr/sbin/charon-systemd',
  profiles: '/usr/sbin/charon-systemd (complain)\n',
  profileAdditions: '',
  sockets,
}
const folders = ['/var/lib/drover/ipsec', '/run/drover']
const needs = { port: 4600, folders, isOurs: () => false }

test('a machine that has what charon needs', (t) => {
  t.equal(machineFault(machine, needs), undefined)
  t.end()
})

test('no charon', (t) => {
  const fault = machineFault({ ...machine, program: undefined }, needs)
  t.equal(fault?.code, 'IPSEC_MISSING')
  t.match(fault?.line, 'apt-get install -y --no-install-recommends charon-systemd')
  t.end()
})

test('the port, and who has it', (t) => {
  t.same(ownerOf(sockets, 4500), { name: 'charon-systemd (process 71)', pid: 71 })
  t.match(ownerOf(sockets, 51820), { pid: undefined })
  t.equal(ownerOf(sockets, 50), undefined)
  t.match(machineFault(machine, { ...needs, port: 4500 }), {
    code: 'IPSEC_PORT',
    message: /UDP 4500 is held by charon-systemd \(process 71\)/,
  })
  const ours = machineFault(machine, { ...needs, port: 4500, isOurs: (pid) => pid === 71 })
  t.equal(ours?.code, 'IPSEC_UNAVAILABLE', 'a charon of ours that has not come up is none of the operator')
  t.end()
})

test('AppArmor that enforces a profile without our folders', (t) => {
  const enforced = { ...machine, profiles: '/usr/sbin/charon-systemd (enforce)\n' }
  const fault = machineFault(enforced, needs)
  t.equal(fault?.code, 'IPSEC_APPARMOR')
  t.match(fault?.message, '`/var/lib/drover/ipsec/** rw, /run/drover/** rw,`')
  const profileAdditions = '/var/lib/drover/ipsec/** rw,\n/run/drover/** rw,\n'
  t.equal(machineFault({ ...enforced, profileAdditions }, needs), undefined)
  t.end()
})

test('a charon that is too old or lacks a plugin', (t) => {
  const plugins = ['charon-systemd', ...pluginsFor('kernel')]
  t.equal(charonFault({ version: '5.9.8' }, { plugins }, 'kernel'), undefined)
  t.equal(charonFault({ version: '6.0.3' }, { plugins }, 'kernel'), undefined)
  t.equal(charonFault({ version: '5.7.2' }, { plugins }, 'kernel')?.code, 'IPSEC_OLD')
  t.equal(charonFault({}, { plugins }, 'kernel')?.code, 'IPSEC_OLD')
  t.match(charonFault({ version: '5.9.8' }, { plugins }, 'userspace'), {
    code: 'IPSEC_PLUGIN',
    message: /kernel-libipsec$/,
  })
  const older = plugins.filter((name) => name !== 'kdf')
  t.equal(charonFault({ version: '5.9.5' }, { plugins: older }, 'kernel'), undefined, 'kdf came with 5.9.6')
  t.end()
})

test('a kernel that does not say in time whether it has ESP has none', async (t) => {
  const late = new DroverError('COMMAND_FAILED', 'unshare: ended by SIGKILL, it may have taken too long')
  t.match(await espMissing({ attempt: () => Promise.reject(late) }), 'it may have taken too long')
})
