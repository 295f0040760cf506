/**
 * etcd with mutual TLS by the environment's CA while a new CA takes the place of the old one: at no point is a host
 * shut out, whichever of the two it, or etcd, knows so far.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import type { Config } from '../../daemon/config/resolve.ts'
import { issueServer } from '../../daemon/trust/ca.ts'
import { instant } from '../../model/time.ts'
import { type Authority, loadOrCreateAuthority, rollAuthority } from '../../pki/authority.ts'
import { loadOrCreateIdentity } from '../../pki/identity.ts'
import { ownTls } from '../../pki/own-tls.ts'
import { listOf } from '../../pki/succession.ts'
import { writeTrustFile } from '../../pki/trust-file.ts'
import { openStore } from '../../store/open.ts'
import { etcdMissing, TestEtcd } from '../support/etcd.ts'
import { MemoryLog } from '../support/ports.ts'
import { realClock } from '../support/real-clock.ts'
import { settings } from '../support/records.ts'

const needsEtcd = etcdMissing() === undefined ? {} : { skip: etcdMissing() ?? '' }
const now = instant(Date.now())

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'dt-roll-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

interface Knows {
  readonly certifiedBy: Authority
  readonly authorities: readonly string[]
  readonly cross?: string | null
}

/** A member's state folder as it is at some moment. */
function memberOf(t: Test, { certifiedBy, authorities, cross = null }: Knows): string {
  const folder = folderOf(t)
  const { id, signingKey } = loadOrCreateIdentity(folder)
  writeTrustFile(folder, {
    environment: settings.uuid,
    certificate: certifiedBy.issueHost(id, signingKey, now).pem,
    authorities,
    cross,
    revoked: [],
    listed: 0,
  })
  return folder
}

/** Whether etcd lets a member in: the code of the error, or `in`. */
async function enters(url: string, folder: string): Promise<string> {
  const store = await openStore(
    { url, path: '', own: () => ownTls(folder) },
    { clock: realClock, log: new MemoryLog() },
  )
  try {
    await store.get('/drover/v1/default/settings')
    return 'in'
  } catch (error) {
    return (error as { code: string }).code
  } finally {
    await store.close()
  }
}

test('nobody is shut out while the CA changes', needsEtcd, async (t) => {
  const state = folderOf(t)
  const environment = { name: 'default', uuid: settings.uuid }
  const old = loadOrCreateAuthority(state, { environment, passphrase: undefined, now })
  const config = { state, ca: {} } as Config
  const files = join(folderOf(t), 'etcd')
  issueServer(config, files, ['127.0.0.1'])
  const [ca, cert, key] = ['ca.pem', 'server.pem', 'server-key.pem'].map((name) => join(files, name))
  if (ca === undefined || cert === undefined || key === undefined) throw new TypeError('three files')
  const etcd = await TestEtcd.start({ tls: { ca, cert, key } })
  t.teardown(() => etcd.remove())

  const rolled = rollAuthority(state, { passphrase: undefined, now })
  const { authorities, cross } = listOf(rolled, 1)
  const asleep = memberOf(t, { certifiedBy: old, authorities: [old.certificate.pem] })
  const told = memberOf(t, { certifiedBy: old, authorities, cross })
  const renewed = memberOf(t, { certifiedBy: rolled, authorities, cross })
  const newOnly = memberOf(t, { certifiedBy: rolled, authorities: [rolled.certificate.pem] })
  for (const [name, folder] of Object.entries({ asleep, told, renewed }))
    t.equal(await enters(etcd.url, folder), 'in', `${name}, while etcd knows the old CA only`)
  t.equal(await enters(etcd.url, newOnly), 'STORE_UNAVAILABLE', 'the old CA may not go yet')

  rmSync(files, { recursive: true })
  issueServer(config, files, ['127.0.0.1'])
  const [member] = etcd.members
  await member?.kill()
  member?.start()
  await etcd.ready()
  for (const [name, folder] of Object.entries({ asleep, told, renewed, newOnly }))
    t.equal(await enters(etcd.url, folder), 'in', `${name}, once etcd has what was issued anew`)

  writeFileSync(ca, rolled.certificate.pem)
  await member?.kill()
  member?.start()
  await etcd.ready()
  t.equal(await enters(etcd.url, newOnly), 'in', 'in the end etcd believes the new CA only')
  t.equal(await enters(etcd.url, asleep), 'STORE_UNAVAILABLE')
})
