/**
 * The join endpoint: HTTPS with a certificate of the join role, one route, small requests, a limit on tries. What
 * may come in is the caller's decision; a refusal tells a stranger no more than that it was refused.
 */
import fastify, { type FastifyInstance } from 'fastify'
import { type JoinAnswer, type JoinRequest, joinRequestSchema } from '../model/admission.ts'
import { DroverError, mayPass, reasonOf } from '../model/errors.ts'
import type { Clock, Log, Meter } from '../model/ports.ts'
import { encodeRecord } from '../model/records.ts'
import { type Limits, RateLimit } from './rate-limit.ts'

export interface JoinServerDeps {
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** Rejects with the reason for this host's log. */
  readonly admit: (request: JoinRequest) => Promise<JoinAnswer>
  /** Told of each one that was not let in, with the reason for this host's operator. */
  readonly onRefused: (address: string, why: string) => void
}

export interface JoinPlace {
  readonly address: string
  readonly port: number
  /** PEM. */
  readonly key: string
  readonly cert: string
  readonly limits?: Limits
}

const defaultLimits: Limits = { perAddress: 10, overall: 60 }

export interface JoinServer {
  close(): Promise<void>
}

export async function startJoinServer(deps: JoinServerDeps, place: JoinPlace): Promise<JoinServer> {
  const { clock, log, meter, admit, onRefused } = deps
  const limit = new RateLimit(place.limits ?? defaultLimits)
  const server: FastifyInstance = fastify({
    https: { key: place.key, cert: place.cert, minVersion: 'TLSv1.3' },
    bodyLimit: 16_384,
    connectionTimeout: 10_000,
    requestTimeout: 10_000,
    forceCloseConnections: true,
  }) as unknown as FastifyInstance
  const refuse = (address: string, why: string): void => {
    meter.count('drover_joins_total', 1, { result: 'refused' })
    log.warn('a join was refused', { address, why })
    onRefused(address, why)
  }
  server.post('/v1/join', async (request, reply) => {
    if (!limit.admits(request.ip, clock.boot())) {
      refuse(request.ip, 'too many tries')
      return reply.code(429).send({ error: 'too many tries; wait a minute' })
    }
    const parsed = joinRequestSchema.safeParse(request.body)
    if (!parsed.success) throw new DroverError('TOKEN_REFUSED', 'the request is malformed')
    const answer = await admit(parsed.data)
    meter.count('drover_joins_total', 1, { result: 'admitted' })
    log.info('a host was let in', { address: request.ip, host: parsed.data.name })
    return reply.header('connection', 'close').type('application/json').send(encodeRecord(answer))
  })
  server.setErrorHandler((error, request, reply) => {
    refuse(request.ip, reasonOf(error))
    const retry = mayPass(error)
    return reply.code(retry ? 503 : 403).send({ error: retry ? 'try again' : 'refused' })
  })
  await listening(server, place)
  return { close: () => server.close() }
}

async function listening(server: FastifyInstance, { address, port }: JoinPlace): Promise<void> {
  try {
    await server.listen({ host: address, port })
  } catch (cause) {
    await server.close()
    throw new DroverError('LISTEN_FAILED', `${address}:${port} (join.port): ${reasonOf(cause)}`, { cause })
  }
}
