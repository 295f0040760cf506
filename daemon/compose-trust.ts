/**
 * Composition of what a daemon does for the trust of the environment; called by compose.ts.
 */
import { utf8 } from '../model/bytes.ts'
import { DroverError, reasonOf } from '../model/errors.ts'
import type { Keys } from '../model/keys.ts'
import type { Sealer } from '../model/ports.ts'
import { authorityText } from '../pki/authority.ts'
import { ownTls } from '../pki/own-tls.ts'
import { openStore, parseStoreUrl } from '../store/open.ts'
import type { Store } from '../store/store.ts'
import type { ControlParts } from './compose.ts'
import type { Control } from './control.ts'
import type { Membership } from './membership/membership.ts'
import { accessFor } from './membership/store-access.ts'
import type { Declarations } from './services/declarations.ts'
import { takeAuthority } from './trust/ca.ts'
import { Door } from './trust/door.ts'
import { Promotion } from './trust/promotion.ts'
import { Removal } from './trust/removal.ts'
import { Renewal } from './trust/renewal.ts'
import { SettingsKeeper } from './trust/settings-keeper.ts'
import { Succession } from './trust/succession.ts'
import { Tampering } from './trust/tampering.ts'
import { Tokens } from './trust/tokens.ts'
import { TrustDuties } from './trust/trust-duties.ts'

/** What parts share that are bound to one store. */
export interface Bound {
  readonly keys: Keys
  readonly store: Store
  readonly sealer: Sealer
}

/** Whether this host wants something of its own to stand under a key. */
interface Wanting {
  readonly wants: (key: string) => boolean
}

export function composeTrust(
  parts: ControlParts,
  membership: Membership,
  bound: Bound & Wanting & { readonly declarations: Declarations },
  control: () => Control,
): TrustDuties {
  const duties: TrustDuties = new TrustDuties({
    door: door(parts, membership, bound),
    renewal: renewal(parts, bound, control),
    removal: removal(parts, bound, control),
    succession: succession(parts, membership, bound, () => ({ control: control(), duties })),
    promotion: promotion(parts, bound, control),
    settings: settingsKeeper(parts, membership, bound),
    tampering: tampering(parts, membership, bound, control),
  })
  return duties
}

function door(parts: ControlParts, membership: Membership, { keys, store, sealer }: Bound): Door {
  const { system, log, meter, ledgers, identity, config, trust } = parts
  const { clock, random } = system
  const { signingKey } = identity
  return new Door(
    {
      tokens: new Tokens({ store, ledger: ledgers.journal, sealer, clock, random }, { keys, signingKey }),
      authority: () => trust.holder.holding(),
      trust: () => trust.keeper.trust,
      clock,
      log,
      meter,
    },
    {
      settings: membership.settings,
      address: config.host.address,
      port: config.join.port,
      store: accessFor(config, membership.store),
    },
  )
}

function renewal(parts: ControlParts, { keys, store }: Bound, control: () => Control): Renewal {
  const { system, log, meter, identity, trust } = parts
  return new Renewal(
    {
      store,
      keeper: trust.keeper,
      authority: () => trust.holder.authority,
      clock: system.clock,
      log,
      meter,
      hosts: () => control().certified(),
      onRenewed: () => control().publish(),
    },
    { keys, identity },
  )
}

function removal(
  parts: ControlParts,
  { keys, store, declarations }: Bound & { readonly declarations: Declarations },
  control: () => Control,
): Removal {
  const { system, log, meter, identity, trust } = parts
  return new Removal(
    {
      store,
      keeper: trust.keeper,
      authority: () => trust.holder.holding(),
      holds: () => trust.holder.authority !== undefined,
      environment: () => control().environment,
      strangers: () => control().strangers,
      inherit: (host) => declarations.inherit(host),
      clock: system.clock,
      log,
      meter,
      onChange: () => control().trustChanged(),
    },
    { keys, self: identity.id },
  )
}

function succession(
  parts: ControlParts,
  membership: Membership,
  { keys, store }: Bound,
  made: () => { readonly control: Control; readonly duties: TrustDuties },
): Succession {
  const { system, log, meter, trust } = parts
  return new Succession(
    {
      store,
      keeper: trust.keeper,
      holder: trust.holder,
      clock: system.clock,
      log,
      meter,
      hosts: () => made().control.certified(),
      storeNeeds: () => storeNeeds(parts, membership, keys.settings),
      onChange: () => made().control.trustChanged(),
      onRolled: async () => {
        const { control, duties } = made()
        duties.removal.signAnew()
        await duties.renewal.tend()
        control.publish()
        return duties.door.endTokens()
      },
    },
    keys,
  )
}

function settingsKeeper(
  { log, trust }: ControlParts,
  { settings }: Membership,
  { keys, store, sealer }: Bound,
): SettingsKeeper {
  const holds = (): boolean => trust.holder.authority !== undefined
  return new SettingsKeeper({ store, sealer, holds, log }, keys, settings)
}

function tampering(
  { system, identity, trust }: ControlParts,
  { settings }: Membership,
  { keys, wants }: Bound & Wanting,
  control: () => Control,
): Tampering {
  const environment = () => control().environment
  return new Tampering(
    { keeper: trust.keeper, now: () => system.clock.now(), environment, wants },
    { keys, self: identity.id, settings },
  )
}

/** Asks each etcd, in the way of a host that knows the newest CA only. */
async function storeNeeds(
  { config, system, log, trust }: ControlParts,
  { store: url }: Membership,
  key: string,
): Promise<readonly string[]> {
  const place = parseStoreUrl(url)
  const { newest } = trust.keeper
  if (place.is !== 'etcd' || !place.tls || config.store.ca !== undefined || newest === undefined) return []
  // Without the former CA's word for the new one, which `ownTls` adds.
  const tls = { ...ownTls(config.state), ca: utf8(newest.pem), cert: utf8(trust.keeper.certificate) }
  const { user, password } = config.store
  const needs = await Promise.all(
    place.endpoints.map(async (endpoint) => {
      const one = await openStore(
        { url: `etcds://${endpoint}`, path: '', own: () => tls, user, password },
        { clock: system.clock, log },
      )
      const why = await one.get(key).then(() => '', reasonOf)
      await one.close()
      return why === '' ? [] : [`etcd ${endpoint} does not know the new CA, or is away (${why})`]
    }),
  )
  return needs.flat()
}

function promotion(parts: ControlParts, { keys, store, sealer }: Bound, control: () => Control): Promotion {
  const { system, log, identity, trust, config } = parts
  return new Promotion(
    {
      store,
      sealer,
      clock: system.clock,
      random: system.random,
      log,
      environment: () => control().environment,
      give: () => {
        trust.holder.holding()
        return authorityText(config.state)
      },
      take: (text) => {
        takeAuthority(config, trust.keeper, text)
        trust.holder.reload()
        if (trust.holder.problem !== '') throw new DroverError('AUTHORITY_OUTDATED', trust.holder.problem)
        control().publish()
      },
    },
    { keys, self: identity.id },
  )
}
