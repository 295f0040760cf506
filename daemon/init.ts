/**
 * Makes this machine a member: creates the environment in the store, or adds the machine to the one that is
 * there. Everything is checked before anything is written; the membership file comes last, so that a kill in
 * the middle leaves a machine that is no member and may try again.
 */
import { DroverError } from '../model/errors.ts'
import { type Cidr, networkOf, overlaps, parseCidr } from '../model/ip.ts'
import { keysOf } from '../model/keys.ts'
import type { Clock, Random } from '../model/ports.ts'
import { type Decoded, decodeRecord, type Settings, settingsSchema } from '../model/records.ts'
import { uuidText } from '../model/uuid.ts'
import type { Store } from '../store/store.ts'
import type { Membership } from './membership.ts'

export interface InitDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  /** Signs with the key of this host. */
  readonly seal: (key: string, body: object) => Uint8Array
  readonly open: (bytes: Uint8Array) => Decoded<{ readonly body: string }>
  /** Throws SUBNET_TAKEN where the machine already uses part of it. */
  readonly refuseOverlap: (subnet: Cidr) => Promise<void>
}

export interface InitOptions {
  readonly environment: string
  readonly storeUrl: string
  /** As the operator wrote it. */
  readonly subnet: string | undefined
}

export interface InitResult {
  readonly membership: Membership
  readonly created: boolean
}

/** RFC 6890: this network, loopback, link-local (our own service address is in it), multicast and above. */
const reservedNetworks = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'] as Cidr[]

const defaultSubnet = '10.42.0.0/16'

export async function initEnvironment(deps: InitDeps, options: InitOptions): Promise<InitResult> {
  const wanted = subnetOf(options.subnet ?? defaultSubnet)
  const standing = await readSettings(deps, options.environment)
  if (standing !== undefined && options.subnet !== undefined && standing.subnet !== wanted) {
    throw new DroverError(
      'ENVIRONMENT_DIFFERS',
      `${options.environment} has the subnet ${standing.subnet}, not ${wanted}`,
    )
  }
  await deps.refuseOverlap(standing?.subnet ?? wanted)
  const settings = standing ?? (await createSettings(deps, options.environment, wanted))
  const membership = { environment: options.environment, store: options.storeUrl, settings }
  return { membership, created: standing === undefined }
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

async function readSettings({ store, open }: InitDeps, environment: string): Promise<Settings | undefined> {
  const entry = await store.get(keysOf(environment).settings)
  if (entry === undefined) return undefined
  const opened = open(entry.value)
  const decoded = opened.is === 'ok' ? decodeRecord(settingsSchema, opened.value.body) : opened
  if (decoded.is === 'ok') return decoded.value
  throw new DroverError('RECORD_INVALID', `${keysOf(environment).settings}: ${decoded.why}`)
}

/** Two first hosts at once: one creates, the other reads what the first wrote. */
async function createSettings(deps: InitDeps, environment: string, subnet: Cidr): Promise<Settings> {
  const key = keysOf(environment).settings
  const settings: Settings = {
    name: environment,
    uuid: uuidText(deps.random.bytes(16)),
    subnet,
    blockBits: Math.min(30, Math.max(26, networkOf(subnet).bits + 2)),
    domain: 'rancher.internal',
    createdAt: deps.clock.now(),
  }
  const outcome = await deps.store.transact(
    [{ key, is: 'absent' }],
    [{ is: 'put', key, value: deps.seal(key, settings) }],
  )
  if (outcome.is === 'done') return settings
  return (await readSettings(deps, environment)) ?? settings
}
