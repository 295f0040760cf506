/**
 * What the daemon and the DNS worker say to each other.
 */
import type { EngineNetwork } from '../model/engine.ts'
import type { Ipv4 } from '../model/ip.ts'
import type { Asked } from './answers/question-log.ts'
import type { Result } from './answers/results.ts'
import type { SearchMode } from './answers/search.ts'
import type { Name } from './codec/name.ts'
import type { UpstreamStatus } from './forwarding/upstreams.ts'
import type { PackedZone } from './packed.ts'

export interface ListenOptions {
  readonly address: Ipv4
  /** 0 for any. */
  readonly port: number
  readonly upstreams: readonly string[]
  readonly resolvConf: string
  readonly domain: Name
  readonly search: SearchMode
  /** Addresses that lead back to us. */
  readonly own: readonly string[]
}

/** Descriptors of bound sockets, by which a successor goes on without losing a question. */
export interface DnsSockets {
  readonly udp: number
  readonly tcp: number
}

export interface WorkerOptions extends ListenOptions {
  /** Taken instead of sockets of its own. */
  readonly inherited: DnsSockets | undefined
}

export type ToWorker =
  /** Comes first. */
  | { readonly is: 'begin'; readonly options: WorkerOptions }
  | { readonly is: 'zone'; readonly piece: PackedZone }
  | { readonly is: 'networks'; readonly networks: readonly EngineNetwork[] }
  /** What was told so far is answered from the first question on. */
  | { readonly is: 'listen' }
  /** Whose questions are to be told, one by one. */
  | { readonly is: 'watch'; readonly addresses: readonly Ipv4[] }
  /** What `from` gets for these messages. */
  | {
      readonly is: 'ask'
      readonly id: number
      readonly questions: readonly Uint8Array[]
      readonly from: Ipv4
    }
  /** Asks for a report: one that does not come means that the worker hangs. */
  | { readonly is: 'report' }
  | { readonly is: 'close' }

export interface Report {
  /** Of the snapshot that answers come from; undefined while there is none. */
  readonly revision: number | undefined
  readonly names: number
  readonly results: Readonly<Record<Result, number>>
  readonly cached: number
  readonly upstreams: readonly UpstreamStatus[]
}

export type FromWorker =
  | { readonly is: 'ready'; readonly port: number; readonly sockets: DnsSockets }
  | { readonly is: 'failed'; readonly why: string }
  | { readonly is: 'report'; readonly report: Report }
  | { readonly is: 'asked'; readonly asked: Asked }
  | { readonly is: 'told'; readonly id: number; readonly answers: readonly Uint8Array[] }
  | { readonly is: 'upstreams'; readonly addresses: readonly string[] }
  | { readonly is: 'closed' }
