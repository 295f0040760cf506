/**
 * One connection to one etcd endpoint: the home of the library etcd3, of which only the generated clients are
 * used. Each request is sent once, with a deadline, and fails with an error of ours. Its own watcher, leases,
 * retries and circuit breakers stay out: docs/adr/0003-etcd-client.md says why.
 */
import { isIP } from 'node:net'
import { checkServerIdentity } from 'node:tls'
import { Channel, type ChannelOptions, type ClientOptions, credentials } from '@grpc/grpc-js'
import {
  Etcd3,
  EtcdAuthenticationFailedError,
  EtcdInvalidAuthTokenError,
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  GRPCInvalidArgumentError,
  GRPCOutOfRangeError,
  type IOptions,
  type IRangeRequest,
  type IRangeResponse,
  type ITxnRequest,
  type ITxnResponse,
  type IWatchRequest,
  type IWatchResponse,
} from 'etcd3'
import { DroverError, type ErrorCode, reasonOf } from '../model/errors.ts'
import { etcdReason } from './etcd-reason.ts'

export type { ICompare, IEvent, IKeyValue, IRequestOp, IWatchResponse } from 'etcd3'

/** PEM. Without `ca` the public authorities count. */
export interface EtcdTls {
  readonly ca?: Uint8Array
  readonly cert?: Uint8Array
  readonly key?: Uint8Array
}

export interface EtcdAccess {
  /** A function is asked at each new connection: certificates are renewed. */
  readonly tls?: EtcdTls | (() => EtcdTls)
  readonly user?: string
  readonly password?: string
}

export interface WatchStream {
  send(request: IWatchRequest): void
  cancel(): void
}

interface WatchListener {
  readonly received: (response: IWatchResponse) => void
  /** Once, also after `cancel`. */
  readonly ended: (error: DroverError) => void
}

type FaultHandling = NonNullable<IOptions['faultHandling']>

const silentEvent = () => ({ dispose: () => {} })

/** Runs a request once: a transaction must not be sent a second time by a library that cannot know it. */
const once: NonNullable<FaultHandling['global']> = {
  _altReturn: undefined as never,
  onSuccess: silentEvent,
  onFailure: silentEvent,
  execute: async (work) => work({ signal: new AbortController().signal }),
}

const within = (limit: number) => ({ deadline: Date.now() + limit })

export class EtcdClient {
  readonly endpoint: string
  readonly #access: EtcdAccess
  readonly #etcd: Etcd3
  /** Resolves when the user is logged in, or at once where there are no users. */
  #ready: Promise<void> | undefined
  /** What etcd wants to see with every request. */
  #token: string | undefined

  /** Clients with different generations share no connection. */
  constructor(endpoint: string, access: EtcdAccess, generation: number) {
    this.endpoint = endpoint
    this.#access = access
    this.#etcd = new Etcd3({
      hosts: endpoint,
      grpcOptions: { ...grpcOptions(generation), ...this.#transport() },
      faultHandling: { global: once, host: () => once },
    })
  }

  range(request: IRangeRequest, limit: number): Promise<IRangeResponse> {
    return this.#request(() => this.#etcd.kv.range(request, within(limit)))
  }

  txn(request: ITxnRequest, limit: number): Promise<ITxnResponse> {
    return this.#request(() => this.#etcd.kv.txn(request, within(limit)))
  }

  async grant(ttl: number, limit: number): Promise<string> {
    const granted = await this.#request(() => this.#etcd.leaseClient.leaseGrant({ TTL: ttl }, within(limit)))
    return granted.ID
  }

  async revoke(lease: string, limit: number): Promise<void> {
    await this.#request(() => this.#etcd.leaseClient.leaseRevoke({ ID: lease }, within(limit)))
  }

  /** False when etcd does not know the lease any more. */
  async keepAlive(lease: string, limit: number): Promise<boolean> {
    const stream = await this.#request(() => this.#etcd.leaseClient.leaseKeepAlive(within(limit)))
    const answer = new Promise<boolean>((resolve, reject) => {
      stream.on('data', (response) => resolve(response.TTL !== '0'))
      stream.on('error', reject)
      stream.on('end', () => reject(new Error('the stream ended without an answer')))
    })
    stream.write({ ID: lease })
    return this.#request(() => answer).finally(() => hangUp(stream))
  }

  async watch(listener: WatchListener): Promise<WatchStream> {
    const stream = await this.#request(() => this.#etcd.watchClient.watch())
    let over = false
    const end = (thrown: unknown) => {
      if (!over) listener.ended(this.#errorOf(thrown))
      over = true
    }
    stream.on('data', listener.received)
    stream.on('error', end)
    stream.on('end', () => end(new Error('the stream ended')))
    return { send: (request) => stream.write(request), cancel: () => hangUp(stream) }
  }

  close(): void {
    this.#etcd.close()
  }

  async #request<T>(send: () => Promise<T>): Promise<T> {
    try {
      await this.#loggedIn()
      return await send()
    } catch (thrown) {
      throw this.#errorOf(thrown)
    }
  }

  async #loggedIn(): Promise<void> {
    this.#ready ??= this.#authenticate()
    try {
      await this.#ready
    } catch (thrown) {
      this.#ready = undefined
      throw thrown
    }
  }

  async #authenticate(): Promise<void> {
    const { user, password = '' } = this.#access
    if (user === undefined) return
    const { token } = await this.#etcd.auth.authenticate(
      { name: user, password },
      within(authenticationLimit),
    )
    this.#token = token
  }

  /** etcd3 can neither verify a certificate for an IP address on this Node nor bound its log-in. */
  #transport(): ChannelOptions {
    const { tls } = this.#access
    return {
      callInvocationTransformer: ((call) => {
        if (this.#token !== undefined) call.metadata.set('token', this.#token)
        return call
      }) satisfies ClientOptions['callInvocationTransformer'],
      ...(tls !== undefined && secureTransport(this.endpoint, typeof tls === 'function' ? tls() : tls)),
    }
  }

  #errorOf(thrown: unknown): DroverError {
    return new DroverError(codeOf(thrown), `${this.endpoint}: ${etcdReason(thrown)}`, {
      fields: { endpoint: this.endpoint },
      cause: thrown,
    })
  }
}

const authenticationLimit = 2000

/** Ended before it is cancelled, or etcd3 takes it for a failure and drops the whole connection. */
function hangUp(stream: { end(): void; cancel(): void }): void {
  stream.end()
  stream.cancel()
}

function codeOf(thrown: unknown): ErrorCode {
  const unknownUser = reasonOf(thrown).includes('user name is empty')
  if (thrown instanceof EtcdAuthenticationFailedError || unknownUser) return 'STORE_REFUSED'
  if (thrown instanceof EtcdPermissionDeniedError) return 'STORE_REFUSED'
  if (thrown instanceof GRPCInvalidArgumentError) return 'STORE_MISUSED'
  return 'STORE_UNAVAILABLE'
}

/** The request named a lease that has ended. */
export const isLeaseGone = (thrown: unknown): boolean => causeOf(thrown) instanceof EtcdLeaseInvalidError

/** The request named a revision that etcd has forgotten. */
export const isCompacted = (thrown: unknown): boolean => causeOf(thrown) instanceof GRPCOutOfRangeError

/** The request cannot have reached etcd, and so may be sent elsewhere. */
export const isUnsent = (thrown: unknown): boolean =>
  reasonOf(causeOf(thrown)).includes('No connection established') ||
  causeOf(thrown) instanceof EtcdInvalidAuthTokenError

const causeOf = (thrown: unknown): unknown => (thrown instanceof Error ? thrown.cause : undefined)

function grpcOptions(generation: number): NonNullable<IOptions['grpcOptions']> {
  return {
    // gRPC shares connections, and their back-off of up to two minutes, between channels with equal options.
    'grpc.primary_user_agent': `drover/${generation}`,
    'grpc.enable_http_proxy': 0,
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.max_receive_message_length': -1,
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 3000,
  }
}

/** Node refuses an IP address as TLS server name: then none of the certificate's names but the address counts. */
function secureTransport(endpoint: string, { ca, key, cert }: EtcdTls): ChannelOptions {
  const host = endpoint.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  const secure = credentials.createSsl(bufferOf(ca), bufferOf(key), bufferOf(cert), {
    checkServerIdentity: (_, presented) => checkServerIdentity(host, presented),
  })
  return {
    ...(isIP(host) !== 0 && { 'grpc.ssl_target_name_override': 'etcd' }),
    channelFactoryOverride: (address: string, _: unknown, options: ChannelOptions) =>
      new Channel(address, secure, options),
  }
}

const bufferOf = (bytes: Uint8Array | undefined): Buffer | null =>
  bytes === undefined ? null : Buffer.from(bytes)
