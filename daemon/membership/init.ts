/**
 * Creates an environment: its settings in the store and its CA on this machine. Everything is checked before
 * anything is written. Killed in the middle, it resumes: settings that this machine has signed, with the CA that
 * it holds, are its own.
 */

import { isDelegatedTld } from '../../dns/answers/tlds.ts'
import { parseName } from '../../dns/codec/name.ts'
import { DroverError } from '../../model/errors.ts'
import { type Cidr, networkOf, overlaps, parseCidr } from '../../model/ip.ts'
import { keysOf } from '../../model/keys.ts'
import type { Clock, Random } from '../../model/ports.ts'
import { type Decoded, decodeRecord, type Settings, settingsSchema } from '../../model/records.ts'
import { type Uuid, uuidText } from '../../model/uuid.ts'
import type { Entry, Store } from '../../store/store.ts'
import type { Membership } from './membership.ts'

export interface InitDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  /** Signs with the key of this host. */
  readonly seal: (key: string, body: object) => Uint8Array
  /** The body of what this host has signed. */
  readonly openOwn: (entry: Entry) => Decoded<string>
  /** The uuid for which this machine holds a CA. */
  readonly authority: () => Uuid | undefined
  readonly makeAuthority: (uuid: Uuid) => void
  /** Throws SUBNET_TAKEN where the machine already uses part of it. */
  readonly refuseOverlap: (subnet: Cidr) => Promise<void>
}

export interface InitOptions {
  readonly environment: string
  readonly storeUrl: string
  /** As the operator wrote it. */
  readonly subnet: string | undefined
  /** Of the environment's names; as the operator wrote it. */
  readonly domain: string | undefined
}

/** RFC 6890: this network, loopback, link-local (our own service address is in it), multicast and above. */
const reservedNetworks = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'] as Cidr[]

const defaultSubnet = '10.42.0.0/16'
const defaultDomain = 'rancher.internal'

export async function initEnvironment(deps: InitDeps, options: InitOptions): Promise<Membership> {
  const { environment, storeUrl, subnet } = options
  const wanted = subnetOf(subnet ?? defaultSubnet)
  const domain = domainOf(options.domain ?? defaultDomain)
  const standing = await ownSettings(deps, environment)
  if (standing !== undefined && options.domain !== undefined && standing.domain !== domain)
    throw new DroverError(
      'ENVIRONMENT_DIFFERS',
      `${environment} has the domain ${standing.domain}, not ${domain}`,
    )
  if (standing !== undefined && subnet !== undefined && standing.subnet !== wanted) {
    throw new DroverError(
      'ENVIRONMENT_DIFFERS',
      `${environment} has the subnet ${standing.subnet}, not ${wanted}`,
    )
  }
  await deps.refuseOverlap(standing?.subnet ?? wanted)
  const settings = standing ?? (await createSettings(deps, environment, { subnet: wanted, domain }))
  return { environment, store: storeUrl, settings }
}

function subnetOf(text: string): Cidr {
  const cidr = parseCidr(text)
  if (cidr === undefined)
    throw new DroverError('USAGE', `--subnet ${text} is not a network such as 10.42.0.0/16`)
  if (networkOf(cidr).bits > 28)
    throw new DroverError('USAGE', `--subnet ${text} is too small: the smallest is a /28`)
  const reserved = reservedNetworks.find((network) => overlaps(network, cidr))
  if (reserved !== undefined)
    throw new DroverError(
      'USAGE',
      `--subnet ${text} overlaps ${reserved}, which the Internet's standards reserve`,
    )
  return cidr
}

/** Names below it are never forwarded: a whole top-level domain of the world would be lost to the containers. */
function domainOf(text: string): string {
  const domain = parseName(text)
  if (domain === undefined)
    throw new DroverError('USAGE', `--domain ${text} is not a domain such as ${defaultDomain}`)
  if (!domain.includes('.') && isDelegatedTld(domain))
    throw new DroverError('USAGE', `--domain ${text} is a top-level domain of the Internet`)
  return domain
}

/** What an attempt of this machine left; rejects where the environment is somebody else's. */
async function ownSettings(deps: InitDeps, environment: string): Promise<Settings | undefined> {
  const { settings: key } = keysOf(environment)
  const entry = await deps.store.get(key)
  if (entry === undefined) return undefined
  const opened = deps.openOwn(entry)
  const decoded = opened.is === 'ok' ? decodeRecord(settingsSchema, opened.value) : opened
  if (decoded.is === 'ok' && decoded.value.uuid === deps.authority()) return decoded.value
  throw new DroverError('ENVIRONMENT_TAKEN', environment)
}

/** The CA comes first, so that nobody sees an environment without one. */
async function createSettings(
  deps: InitDeps,
  environment: string,
  { subnet, domain }: { readonly subnet: Cidr; readonly domain: string },
): Promise<Settings> {
  const key = keysOf(environment).settings
  const uuid = deps.authority() ?? uuidText(deps.random.bytes(16))
  deps.makeAuthority(uuid)
  const settings: Settings = {
    name: environment,
    uuid,
    subnet,
    blockBits: Math.min(30, Math.max(26, networkOf(subnet).bits + 2)),
    domain,
    createdAt: deps.clock.now(),
  }
  const outcome = await deps.store.transact(
    [{ key, is: 'absent' }],
    [{ is: 'put', key, value: deps.seal(key, settings) }],
  )
  if (outcome.is === 'refused') throw new DroverError('ENVIRONMENT_TAKEN', environment)
  return settings
}
