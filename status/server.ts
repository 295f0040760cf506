/**
 * The admin API on a unix socket that only root can open: the status value as JSON, metrics, and the commands
 * that a running daemon must take part in. It promises that an error is a JSON object with one line for people, and
 * with its code and detail where they can mend it.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import fastify, { type FastifyInstance } from 'fastify'
import { DroverError, reasonOf } from '../model/errors.ts'

export interface AdminActions {
  /** What a path under /v1/ shows now; undefined where nothing is known yet. */
  readonly views: Readonly<Record<string, () => unknown>>
  /** What is done by a POST to a path under /v1/. */
  readonly commands: Readonly<Record<string, (wish: Readonly<Record<string, unknown>>) => Promise<object>>>
  /** What is told under a path of /v1/, value by value, until the client leaves; returns what ends it. */
  readonly streams: Readonly<
    Record<string, (query: Readonly<Record<string, string>>, push: (value: object) => void) => () => void>
  >
  metrics(): Promise<string>
  /** Why a name gets the answer it gets; undefined while nothing is served. */
  explain(name: string, from: string | undefined): Promise<unknown> | undefined
}

export interface AdminServer {
  close(): Promise<void>
}

const starting = 'the daemon is still starting'

export async function startAdmin(actions: AdminActions, socket: string): Promise<AdminServer> {
  const server = fastify({ forceCloseConnections: true })
  for (const [name, view] of Object.entries(actions.views)) {
    server.get(`/v1/${name}`, async (_request, reply) => {
      const value = await view()
      return value === undefined ? reply.code(503).send({ error: starting }) : reply.send(value)
    })
  }
  server.get<{ Querystring: { name?: string; from?: string } }>('/v1/dns/explain', async (request, reply) => {
    const { name = '', from } = request.query
    const value = await actions.explain(name, from)
    return value === undefined ? reply.code(503).send({ error: starting }) : reply.send(value)
  })
  server.get('/metrics', (_request, reply) =>
    actions.metrics().then((text) => reply.type('text/plain; version=0.0.4').send(text)),
  )
  for (const [name, open] of Object.entries(actions.streams))
    server.get<{ Querystring: Record<string, string> }>(`/v1/${name}`, (request, reply) =>
      reply.type('application/x-ndjson').send(linesOf((push) => open(request.query, push))),
    )
  for (const [name, command] of Object.entries(actions.commands))
    server.post(`/v1/${name}`, (request) =>
      command((request.body ?? {}) as Readonly<Record<string, unknown>>),
    )
  server.setErrorHandler((error, _request, reply) => {
    if (!(error instanceof DroverError)) return reply.code(500).send({ error: reasonOf(error) })
    const { line, code, detail, culprit } = error
    return culprit === 'operator'
      ? reply.code(400).send({ error: line, code, detail })
      : reply.code(500).send({ error: line })
  })
  await listen(server, socket)
  return { close: () => server.close() }
}

/** Lines that a slow reader lets pile up. */
const unread = 1 << 20 // bytes

/** The first line comes at once, so that the client knows that it follows. */
function linesOf(open: (push: (value: object) => void) => () => void): Readable {
  const lines = new Readable({ read: () => undefined })
  const push = (value: object): void => {
    if (lines.readableLength < unread) lines.push(`${JSON.stringify(value)}\n`)
  }
  const end = open(push)
  lines.push('{}\n')
  lines.once('close', end)
  return lines
}

async function listen(server: FastifyInstance, socket: string): Promise<void> {
  mkdirSync(dirname(socket), { recursive: true, mode: 0o755 })
  if (await isServed(socket)) throw new DroverError('DAEMON_RUNNING', socket)
  rmSync(socket, { force: true })
  await server.listen({ path: socket })
  chmodSync(socket, 0o600)
}

/** Whether another daemon is behind the socket; a socket file that nobody serves is left over from a kill. */
export function isServed(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', () => resolve(false))
  })
}
