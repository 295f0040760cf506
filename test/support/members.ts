/**
 * An environment with a real CA for tests of what counts: members that publish as a host does, each record with
 * a number of its own and a head that lists what lives.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { keysOf } from '../../model/keys.ts'
import type { HostRecord } from '../../model/records.ts'
import { type Instant, instant } from '../../model/time.ts'
import { type Authority, loadOrCreateAuthority } from '../../pki/authority.ts'
import { openEnvelope, sealRecord } from '../../pki/envelope.ts'
import { headRecordOf } from '../../pki/head.ts'
import { type HostIdentity, loadOrCreateIdentity } from '../../pki/identity.ts'
import type { Trust } from '../../pki/trust.ts'
import type { Entry } from '../../store/store.ts'
import { hostRecord, settings } from './records.ts'

export const keys = keysOf('default')
export const began = instant(Date.UTC(2026, 0, 1))

export function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'dt-members-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export function authorityFor(t: Test, now: Instant = began): { ca: Authority; trust: Trust } {
  const environment = { name: 'default', uuid: settings.uuid }
  const ca = loadOrCreateAuthority(folderOf(t), { environment, passphrase: undefined, now })
  return { ca, trust: { environment: settings.uuid, authorities: [ca.certificate], revoked: new Set() } }
}

export class Member {
  readonly identity: HostIdentity
  readonly record: HostRecord
  readonly live = new Map<string, number>()
  #counter = 0

  constructor(t: Test, name: string, ca: Authority, over: Partial<HostRecord> = {}) {
    this.identity = loadOrCreateIdentity(folderOf(t))
    const { id, signingKey } = this.identity
    const certificate = ca.issueHost(id, signingKey, began).pem
    this.record = hostRecord(name, { id, signingKey, certificate, ...over })
  }

  get id() {
    return this.identity.id
  }

  get hostKey(): string {
    return keys.host(this.id)
  }

  /** Signs, without counting it as its own. */
  sealed(key: string, body: object): Entry {
    this.#counter++
    return { key, value: sealRecord(this.identity, key, body, this.#counter), revision: 1 }
  }

  /** Signs a record, which its next head lists. */
  says(key: string, body: object): Entry {
    const entry = this.sealed(key, body)
    this.live.set(key, this.#counter)
    return entry
  }

  host(over: Partial<HostRecord> = {}): Entry {
    return this.says(this.hostKey, { ...this.record, ...over })
  }

  claims(key: string, epoch = 1): Entry {
    return this.says(key, { host: this.id, epoch, container: null, confirmed: true })
  }

  head(now: Instant = began): Entry {
    return this.sealed(keys.head(this.id), headRecordOf(this.id, this.live.values(), now))
  }
}

/** Its record as the envelope carries it. */
export function bodyOf({ value }: Entry): string {
  const opened = openEnvelope(value)
  return opened.is === 'ok' ? opened.value.body : ''
}
