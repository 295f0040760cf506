/**
 * What our userspace engine says of itself beside what every engine does: lines with the prefix `drover_` in its
 * answer to `get=1`. `wg` and other readers leave out keys that they do not know. Written by the tunnel process,
 * read by the daemon; the two may be of different versions, so what is not understood counts for nothing. Pure.
 */
export const offloads = ['tso', 'uso', 'gso', 'gro', 'coalesce', 'fused', 'priority'] as const
export type Offload = (typeof offloads)[number]

/** In use now; switched off by the operator; refused by this kernel or by a route. */
export const offloadStates = ['on', 'off', 'refused'] as const
export type OffloadState = (typeof offloadStates)[number]

export interface EngineFacts {
  /** Who encrypts: `openssl`, `evp` or `libsodium`. */
  readonly aead: string
  /** Whose primitives handshakes are made of: `openssl` or `libsodium`, of which alone earlier versions were. */
  readonly handshakes: string
  /** Whether it listens on IPv6 as well. */
  readonly ipv6: boolean
  readonly offloads: Readonly<Partial<Record<Offload, OffloadState>>>
  /** What a host may publish of it, such as `checksumMarks`. */
  readonly capabilities: readonly string[]
}

/**
 * It understands marks in the reserved bytes of transport headers; a daemon that finds it in a peer's record sets
 * `drover_marks` for that peer.
 */
export const checksumMarks = 'checksum-marks'

export const factPrefix = 'drover_'

export function factLines({
  aead,
  handshakes,
  ipv6,
  offloads: states,
  capabilities,
}: EngineFacts): readonly string[] {
  return [
    `${factPrefix}aead=${aead}`,
    `${factPrefix}handshakes=${handshakes}`,
    `${factPrefix}ipv6=${ipv6}`,
    ...offloads.flatMap((name) =>
      states[name] === undefined ? [] : [`${factPrefix}${name}=${states[name]}`],
    ),
    `${factPrefix}capabilities=${capabilities.join(',')}`,
  ]
}

/** Undefined where it is another engine's answer. `values` are those before the first peer, by key. */
export function factsIn(values: ReadonlyMap<string, string>): EngineFacts | undefined {
  const aead = values.get(`${factPrefix}aead`)
  if (aead === undefined) return undefined
  const states = offloads.flatMap((name) => {
    const state = offloadStates.find((known) => known === values.get(`${factPrefix}${name}`))
    return state === undefined ? [] : [[name, state] as const]
  })
  const capabilities = values.get(`${factPrefix}capabilities`) ?? ''
  return {
    aead,
    handshakes: values.get(`${factPrefix}handshakes`) ?? 'libsodium',
    ipv6: values.get(`${factPrefix}ipv6`) === 'true',
    offloads: Object.fromEntries(states),
    capabilities: capabilities.split(',').filter((name) => name !== ''),
  }
}
