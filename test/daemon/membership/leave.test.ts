/**
 * Leaving takes what Drover wrote, and nothing else of a folder that it may share.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { removeOurs } from '../../../daemon/membership/leave.ts'
import { needsRoot } from '../../support/netns.ts'

const made = [
  'identity.json',
  'membership.json',
  'trust.json',
  'authority.json',
  'authority-backup-note.json',
  'store-ca.pem',
  'store.db',
  'journal.db',
  'journal.db-wal',
  'snapshot.db',
  'snapshot.db-shm',
  'tunnel.log',
  'drover0.state',
  'drover.sock',
  'dns.zone',
]

test('a folder goes with what is ours, and stays with what is not', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'dt-leave-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (const name of made) writeFileSync(join(folder, name), '')
  mkdirSync(join(folder, 'wireguard'))
  writeFileSync(join(folder, 'docker.sock'), '')
  removeOurs(folder)
  t.strictSame(readdirSync(folder).sort(), ['docker.sock', 'wireguard'])
  rmSync(join(folder, 'docker.sock'))
  rmSync(join(folder, 'wireguard'), { recursive: true })
  for (const name of made) writeFileSync(join(folder, name), '')
  removeOurs(folder)
  t.notOk(existsSync(folder))
  t.doesNotThrow(() => removeOurs(folder), 'nothing to leave')
  t.end()
})

test('a folder that is a file system of its own is emptied', needsRoot, (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'dt-leave-'))
  spawnSync('mount', ['-t', 'tmpfs', 'drover-test', folder])
  t.teardown(() => {
    spawnSync('umount', [folder])
    rmSync(folder, { recursive: true, force: true })
  })
  writeFileSync(join(folder, 'identity.json'), '')
  removeOurs(folder)
  t.strictSame(readdirSync(folder), [])
  t.end()
})
