/**
 * What ours is compared with: servers that know one answer. Arguments: kind (`node`, `fastify` or `hold`), address,
 * bytes of the answer. `hold` answers nothing until `change` comes on its input, as a long poll does. Ends with it.
 */
import { createServer, type ServerResponse } from 'node:http'
import { createInterface } from 'node:readline'
import { fastify } from 'fastify'

const [kind = '', host = '', bytes = '0'] = process.argv.slice(2)
const size = Number(bytes)
const answer = size > 1024 ? Buffer.alloc(size, 'x') : 'x'.repeat(size)
const held = new Set<ServerResponse>()
const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`)

function change(): object {
  const at = process.hrtime.bigint()
  for (const response of held) response.end(answer)
  held.clear()
  return { at: String(at) }
}

if (kind === 'fastify') {
  const app = fastify()
  app.get('/*', (_request, reply) => reply.send(answer))
  await app.listen({ host, port: 80, backlog: 4096 })
} else {
  const server = createServer((_request, response) => {
    if (kind === 'node') response.end(answer)
    else held.add(response)
  })
  server.requestTimeout = 0
  await new Promise<void>((resolve) => server.listen({ host, port: 80, backlog: 4096 }, resolve))
}
say({ ready: true })
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'change') say(change())
  else say({ waiting: held.size })
}
process.exit()
