/** resolv.conf in its own inode, as Docker's bind mount needs it. */
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { editResolvFile, restoreResolvFile } from '../../network/resolv-file.ts'
import { ip } from '../support/snapshots.ts'

test('a file is edited and put back in place', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'dt-resolv-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'resolv.conf')
  const original = 'search lan\nnameserver 8.8.8.8\n# \xe9\n'
  writeFileSync(path, original, 'latin1')
  const { ino } = statSync(path)
  const wish = { nameserver: ip('169.254.169.250'), search: ['rancher.internal'], priority: 'first' as const }
  t.equal(await editResolvFile(path, wish), true)
  t.equal(await editResolvFile(path, wish), false, 'twice is once')
  t.match(readFileSync(path, 'utf8'), /^nameserver 169.254.169.250$/m)
  t.equal(await restoreResolvFile(path), true)
  t.equal(readFileSync(path, 'latin1'), original)
  t.equal(await restoreResolvFile(path), false)
  t.equal(statSync(path).ino, ino)
  t.equal(await editResolvFile(join(folder, 'missing'), wish), false)
  symlinkSync(path, join(folder, 'link'))
  await t.rejects(editResolvFile(join(folder, 'link'), wish), { code: 'ELOOP' })
  writeFileSync(path, 'x'.repeat(100_000))
  t.equal(await editResolvFile(path, wish), false, 'too large to be one')
})
