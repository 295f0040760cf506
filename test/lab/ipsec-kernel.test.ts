/**
 * The kernel's ESP, XFRM interfaces and all, on Debian's kernel in a virtual machine: runs the file that the build
 * machines skip.
 */
import { test } from 'tap'
import { vmFor, vmNeeds } from '../support/vm.ts'

const needs = await vmNeeds()

test("IPsec by the kernel's ESP", { ...needs, timeout: 900_000 }, async (t) => {
  const vm = await vmFor(t, { seconds: 800 })
  const { code, stdout, stderr } = await vm.run('node test/tunnel/ipsec/kernel-esp.test.ts')
  t.equal(code, 0, `${stdout.slice(-4000)}${stderr.slice(-2000)}`)
  t.notMatch(stdout, '# SKIP')
})
