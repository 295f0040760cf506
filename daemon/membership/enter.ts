/**
 * What `drover init` and `drover join` do to this machine: identity, certificate, settings. The membership file
 * comes last, so that a kill in the middle leaves a machine that is no member and may try again.
 */
import { DroverError, reasonOf } from '../../model/errors.ts'
import { keysOf } from '../../model/keys.ts'
import type { Log } from '../../model/ports.ts'
import {
  type EnvironmentName,
  loadAuthority,
  loadOrCreateAuthority,
  removeAuthority,
} from '../../pki/authority.ts'
import { openOwnRecord, sealRecord } from '../../pki/envelope.ts'
import { type HostIdentity, loadOrCreateIdentity } from '../../pki/identity.ts'
import { askToJoin } from '../../pki/join-client.ts'
import type { Token } from '../../pki/token.ts'
import { type TrustFile, writeTrustFile } from '../../pki/trust-file.ts'
import { storeOf } from '../compose.ts'
import type { Config } from '../config/resolve.ts'
import type { System } from '../system.ts'
import { TrustKeeper } from '../trust/trust-keeper.ts'
import { initEnvironment } from './init.ts'
import { type Membership, readMembership, writeMembership } from './membership.ts'
import { refuseOverlap } from './occupied.ts'
import { accessOf, withAccess } from './store-access.ts'

export interface Machine {
  readonly config: Config
  readonly system: System
  readonly log: Log
}

export interface EnterFlags {
  readonly subnet?: string
  readonly domain?: string
  readonly store?: string
}

/** Creates an environment, with this machine as its first host. */
export async function createEnvironment(machine: Machine, flags: EnterFlags): Promise<Membership> {
  const { config, system, log } = machine
  refuseMember(config)
  const storeUrl = flags.store ?? config.store.url ?? 'embedded'
  const identity = loadOrCreateIdentity(config.state)
  const store = await storeOf(storeUrl, config, { clock: system.clock, log })
  const { passphrase } = config.ca
  const load = () => loadAuthority(config.state, passphrase)
  const make = (environment: EnvironmentName) =>
    loadOrCreateAuthority(config.state, { environment, passphrase, now: system.clock.now() })
  try {
    const membership = await initEnvironment(
      {
        store,
        clock: system.clock,
        random: system.random,
        seal: (key, body) => sealRecord(identity, key, body, 0),
        openOwn: ({ key, value }) => openOwnRecord(value, key, identity.signingKey),
        authority: () => load()?.environment.uuid,
        makeAuthority: (uuid) => make({ name: config.environment, uuid }),
        refuseOverlap: (subnet) => refuseOverlap(subnet, system),
      },
      { environment: config.environment, storeUrl, subnet: flags.subnet, domain: flags.domain },
    )
    const { certificate, issueHost } = make({ name: config.environment, uuid: membership.settings.uuid })
    writeTrustFile(config.state, {
      environment: membership.settings.uuid,
      certificate: issueHost(identity.id, identity.signingKey, system.clock.now()).pem,
      authorities: [certificate.pem],
      revoked: [],
      listed: 0,
    })
    writeMembership(config.state, membership)
    return membership
  } catch (error) {
    // Another machine was first: the CA made here is nobody's.
    if (error instanceof DroverError && error.code === 'ENVIRONMENT_TAKEN') removeAuthority(config.state)
    throw error
  } finally {
    await store.close()
  }
}

/** Enters an environment by a token. The subnet is known only then; a token lets the same machine try again. */
export async function enterEnvironment(machine: Machine, token: Token): Promise<Membership> {
  const { config, system } = machine
  refuseMember(config)
  const identity = loadOrCreateIdentity(config.state)
  const answer = await askToJoin({ token, identity, name: config.host.name, now: system.clock.now() })
  await refuseOverlap(answer.settings.subnet, system)
  const { certificate, authorities, cross, revoked, listed, settings, store } = answer
  const file: TrustFile = { environment: settings.uuid, certificate, authorities, cross, revoked, listed }
  writeTrustFile(config.state, file)
  // Whatever the endpoint said, the token's CA is the measure.
  verifyEntry(config, identity, token, machine)
  if (loadOwnAuthority(config) !== settings.uuid) removeAuthority(config.state)
  const membership = {
    environment: settings.name,
    store: config.store.url ?? store.url,
    settings,
    access: accessOf(config, store),
  }
  writeMembership(config.state, membership)
  return membership
}

function verifyEntry(config: Config, identity: HostIdentity, token: Token, { system }: Machine): void {
  const { trust } = TrustKeeper.open(config.state, identity, system.clock.now())
  if (
    trust.environment !== token.uuid ||
    !trust.authorities.some(({ fingerprint }) => fingerprint === token.authority)
  )
    throw new DroverError('JOIN_UNPROVEN', 'its answer is for another environment')
}

function loadOwnAuthority(config: Config): string | undefined {
  try {
    return loadAuthority(config.state, config.ca.passphrase)?.environment.uuid
  } catch {
    return undefined
  }
}

/** Whether the store answers, for the operator. */
export async function storeAnswers(machine: Machine, membership: Membership): Promise<string | undefined> {
  const { config, system, log } = machine
  const store = await storeOf(membership.store, withAccess(config, membership), { clock: system.clock, log })
  try {
    await store.get(keysOf(membership.environment).settings)
    return undefined
  } catch (error) {
    return reasonOf(error)
  } finally {
    await store.close()
  }
}

function refuseMember(config: Config): void {
  const standing = readMembership(config.state)
  if (standing !== undefined)
    throw new DroverError('ENVIRONMENT_EXISTS', `${standing.environment} in ${standing.store}`)
}
