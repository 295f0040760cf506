/**
 * The door of an environment, on the host that holds the CA: tokens for the operator, and the join endpoint,
 * which listens only while there is a token.
 */
import { type JoinAnswer, type JoinRequest, joinProof, type TokenRecord } from '../../model/admission.ts'
import { fromBase64, utf8 } from '../../model/bytes.ts'
import { DroverError, mayPass, reasonOf } from '../../model/errors.ts'
import { type Clock, type Log, type Meter, sleep } from '../../model/ports.ts'
import type { Settings } from '../../model/records.ts'
import { parseDuration, seconds } from '../../model/time.ts'
import type { Authority } from '../../pki/authority.ts'
import { hostIdOf, verifyText } from '../../pki/envelope.ts'
import { type JoinServer, type JoinServerDeps, startJoinServer } from '../../pki/join-server.ts'
import { tokenText } from '../../pki/token.ts'
import type { Trust } from '../../pki/trust.ts'
import type { Attempt } from '../../status/checks/attempts.ts'
import { Attempts } from '../records/attempts.ts'
import type { Tokens } from './tokens.ts'

export interface DoorDeps {
  readonly tokens: Tokens
  /** Throws where this host does not hold the key of the CA, or cannot open it. */
  readonly authority: () => Authority
  readonly trust: () => Trust
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
}

export interface DoorOptions {
  readonly settings: Settings
  readonly address: string
  readonly port: number
  /** How another host comes to the store; undefined where only this one can. */
  readonly store: JoinAnswer['store'] | undefined
}

export interface TokenView {
  readonly id: string
  readonly uses: number
  readonly used: number
  readonly createdAt: string
  readonly expiresAt: string
}

export interface CreatedToken extends TokenView {
  readonly token: string
  readonly place: string
}

const lookEvery = seconds(5)
const defaultTtl = '1h'

export class Door {
  readonly #deps: DoorDeps
  readonly #options: DoorOptions
  readonly #stop = new AbortController()
  #server: JoinServer | undefined
  #turning: Promise<void> = Promise.resolve()
  #problem = ''
  readonly #attempts = new Attempts()

  constructor(deps: DoorDeps, options: DoorOptions) {
    this.#deps = deps
    this.#options = options
  }

  /** Why the endpoint does not listen although it should; empty when all is well. */
  get problem(): string {
    return this.#problem
  }

  /** Who was not let in, and why. */
  get attempts(): readonly Attempt[] {
    return this.#attempts.list()
  }

  /** Keeps the endpoint open while there are tokens, until `close`. */
  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#look().catch((error: unknown) => this.#failed(error))
      await sleep(this.#deps.clock, lookEvery, this.#stop.signal).catch(() => undefined)
    }
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#turn(false).catch(() => undefined)
  }

  async create(wish: { readonly ttl?: string; readonly uses?: number }): Promise<CreatedToken> {
    const { tokens, authority } = this.#deps
    const { settings, address, port, store } = this.#options
    const ttl = parseDuration(wish.ttl ?? defaultTtl)
    if (ttl === undefined)
      throw new DroverError('USAGE', `--ttl ${wish.ttl} is not a time such as 30m, 1h or 7d`)
    const uses = wish.uses ?? 1
    if (!Number.isInteger(uses) || uses < 1 || uses > 1000)
      throw new DroverError('USAGE', '--uses is a number from 1 to 1000')
    if (store === undefined)
      throw new DroverError('NOT_NOW', 'the store is embedded: first `drover store move etcd://HOST:2379`')
    const { certificate } = authority()
    const { record, secret } = await tokens.create({ ttl, uses })
    await this.#turn(true)
    const place = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
    const token = tokenText({
      environment: settings.name,
      uuid: settings.uuid,
      places: [place],
      authority: certificate.fingerprint,
      id: record.id,
      secret,
    })
    return { ...viewOf(record), token, place }
  }

  async list(): Promise<readonly TokenView[]> {
    return (await this.#deps.tokens.list()).map(viewOf)
  }

  async revoke(id: string): Promise<{ readonly revoked: string }> {
    if (!(await this.#deps.tokens.revoke(id)))
      throw new DroverError('USAGE', `there is no token ${id}; see \`drover token list\``)
    await this.#look()
    return { revoked: id }
  }

  /** Ends every token: the CA that they name is no longer the one that issues. How many there were. */
  async endTokens(): Promise<number> {
    const { tokens } = this.#deps
    const open = await tokens.list()
    for (const { id } of open) await tokens.revoke(id)
    await this.#look()
    return open.length
  }

  async #look(): Promise<void> {
    await this.#turn((await this.#deps.tokens.list()).length > 0)
  }

  /** One turn of the key after the other. */
  #turn(open: boolean): Promise<void> {
    const turned = this.#turning.then(() => (open ? this.#open() : this.#shut()))
    this.#turning = turned.catch(() => undefined)
    return turned
  }

  async #open(): Promise<void> {
    if (this.#server !== undefined || this.#stop.signal.aborted) return
    const { authority, clock, log, meter } = this.#deps
    const { address, port } = this.#options
    const admit: JoinServerDeps['admit'] = (request) => this.#admit(request)
    const pair = authority().issueJoin([address], clock.now())
    const onRefused = (from: string, why: string): void => this.#attempts.note(from, why, clock.now())
    this.#server = await startJoinServer({ clock, log, meter, admit, onRefused }, { address, port, ...pair })
    this.#problem = ''
    log.info('others may join', { address: `${address}:${port}` })
  }

  async #shut(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    this.#problem = ''
    await server?.close()
    if (server !== undefined) this.#deps.log.info('nobody may join', {})
  }

  async #admit(request: JoinRequest): Promise<JoinAnswer> {
    const { tokens, authority, trust, clock } = this.#deps
    const { settings, store } = this.#options
    const { certificate, issueHost, former } = authority()
    const proof = fromBase64(request.proof, 64) ?? new Uint8Array()
    const text = utf8(joinProof(request.token, certificate.fingerprint))
    if (store === undefined || !verifyText(text, proof, request.signingKey))
      throw new DroverError('TOKEN_REFUSED', 'the machine does not hold the key that it names')
    const host = hostIdOf(request.signingKey)
    const { revoked, authorities } = trust()
    if (revoked.has(host))
      throw new DroverError('TOKEN_REFUSED', `host ${host} was removed; it needs new keys`)
    await tokens.redeem(request.token, request.secret, host)
    return {
      certificate: issueHost(host, request.signingKey, clock.now()).pem,
      authorities: authorities.map(({ pem }) => pem),
      cross: former?.cross.pem ?? null,
      revoked: [...revoked] as JoinAnswer['revoked'],
      listed: 0,
      settings,
      store,
    }
  }

  #failed(error: unknown): void {
    if (mayPass(error)) return
    const why = error instanceof DroverError ? error.line : reasonOf(error)
    if (why !== this.#problem) this.#deps.log.warn('the join endpoint cannot be opened', { why })
    this.#problem = why
  }
}

const viewOf = ({ id, uses, usedBy, createdAt, expiresAt }: TokenRecord): TokenView => ({
  id,
  uses,
  used: usedBy.length,
  createdAt: new Date(createdAt).toISOString(),
  expiresAt: new Date(expiresAt).toISOString(),
})
