/**
 * Undoes everything that Drover did to this machine: attachments, routes, rules, resolv.conf files, the tunnel,
 * this host's records in the store, and its files. Containers keep running, without their managed address.
 */
import { existsSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { wishOf } from '../../docker/labels.ts'
import { reasonOf } from '../../model/errors.ts'
import { type Keys, keysOf } from '../../model/keys.ts'
import type { Log } from '../../model/ports.ts'
import type { HostId } from '../../model/records.ts'
import { restoreResolvFile } from '../../network/resolv-file.ts'
import { openEnvelope } from '../../pki/envelope.ts'
import type { Store, Write } from '../../store/store.ts'
import { endCharon } from '../../tunnel/ipsec/charon-place.ts'
import type { Config } from '../config/resolve.ts'
import { charonFolder } from '../peers/ipsec-engine.ts'
import { endTunnel } from '../peers/tunnel-engines.ts'
import type { System } from '../system.ts'
import type { Membership } from './membership.ts'

export interface LeaveDeps {
  readonly system: System
  readonly log: Log
  /** Undefined for a machine that is no member. */
  readonly member:
    | { readonly membership: Membership; readonly self: HostId; readonly store: Store }
    | undefined
}

export async function leave({ system, log, member }: LeaveDeps, config: Config): Promise<void> {
  await restoreResolvers(system, log, config.environment)
  await endTunnel(config, system.clock)
  await endCharon(charonFolder(config), system.clock)
  await system.ip.batch([`link del dev ${config.tunnel.interface}`]).catch(() => undefined)
  await system.applier.leave(member?.membership.settings.subnet)
  if (member !== undefined) {
    const keys = keysOf(member.membership.environment)
    const { alone, services } = await withdraw(member.store, keys, member.self).catch((error: unknown) => {
      log.warn('the records of this host could not be taken out of the store', { why: reasonOf(error) })
      return { alone: member.membership.store === 'embedded', services: [] }
    })
    await member.store.close()
    if (!alone) keepAuthority(config.state, log)
    if (!alone && services.length > 0)
      log.warn('services that were declared on this host are gone with it: declare them on another one', {
        what: services.join(' '),
      })
  }
  for (const folder of [config.state, config.run]) removeOurs(folder)
  log.info('this machine has left', { environment: config.environment })
}

/** The environment lives on without this host, and needs its CA. */
function keepAuthority(state: string, log: Log): void {
  const [file, kept] = [join(state, 'authority.json'), join(state, 'left-authority.json')]
  if (!existsSync(file)) return
  renameSync(file, kept)
  log.warn('this host held the key of the CA: keep it in a safe place, other hosts need it', { what: kept })
}

async function restoreResolvers({ engine }: System, log: Log, environment: string): Promise<void> {
  const containers = await engine.list().catch((error: unknown) => {
    log.warn('resolv.conf of containers is left as it is: the Docker engine does not answer', {
      why: reasonOf(error),
    })
    return []
  })
  for (const { container } of containers) {
    const wish = wishOf(container)
    // Another environment's daemon may serve the same engine.
    if (container.resolvConf !== '' && wish.managed && wish.environment === environment)
      await restoreResolvFile(container.resolvConf)
  }
}

/** What Drover writes into its folders; SQLite keeps files beside its own. */
const ours =
  /^((identity|membership|trust|authority|authority-backup-note)\.json(\..*)?|store-ca\.pem|(store|journal|snapshot)\.db(-.*)?|tunnel\.log|.*\.state(\.new)?|drover\.sock|dns\.zone(\.new)?|charon\.vici|ipsec\.log)$/

/** The folders are the operator's choice and may hold what is not ours: that stays, and the folder with it. */
export function removeOurs(folder: string): void {
  if (!existsSync(folder)) return
  for (const name of readdirSync(folder)) if (ours.test(name)) rmSync(join(folder, name), { force: true })
  if (readdirSync(folder).length > 0) return
  try {
    rmdirSync(folder)
  } catch (error) {
    // A file system of its own is mounted there.
    if ((error as { readonly code?: unknown }).code !== 'EBUSY') throw error
  }
}

/**
 * Deletes what this host has signed: its record, its containers', its claims. Settings stay for the others; the
 * last host takes everything along. Says whether it was the last, and which services it had declared.
 */
async function withdraw(
  store: Store,
  keys: Keys,
  self: HostId,
): Promise<{ readonly alone: boolean; readonly services: readonly string[] }> {
  const { prefix } = keys
  const { entries } = await store.list(prefix)
  const alone = entries.every(({ key }) => !key.startsWith(`${prefix}hosts/`) || key.endsWith(`/${self}`))
  const own = entries.filter(({ key, value }) => {
    const opened = openEnvelope(value)
    return alone || (opened.is === 'ok' && opened.value.key === self && key !== keys.settings)
  })
  const writes: Write[] = own.map(({ key }) => ({ is: 'delete', key }))
  for (let at = 0; at < writes.length; at += 100) await store.transact([], writes.slice(at, at + 100))
  const services = own.filter(({ key }) => key.startsWith(keys.services))
  return { alone, services: services.map(({ key }) => key.slice(keys.services.length)) }
}
