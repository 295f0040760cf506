/** What no real engine answers: an engine that says something else is away, not without containers. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { DockerEngine } from '../../docker/engine.ts'
import { containerIdField } from '../../model/records.ts'

/** On a socket where every question has this answer. */
async function engineThatSays(t: Test, status: number, body: string): Promise<DockerEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'engine-'))
  const path = join(folder, 's')
  const server = createServer((_, response) => response.writeHead(status).end(body)).listen(path)
  t.teardown(() => {
    server.close()
    rmSync(folder, { recursive: true })
  })
  await once(server, 'listening')
  return new DockerEngine({ is: 'socket', path })
}

const id = containerIdField.parse('a'.repeat(64))

test('a list that is none', async (t) => {
  const engine = await engineThatSays(t, 200, '{"message":"hello"}')
  await t.rejects(engine.list(), { code: 'ENGINE_UNAVAILABLE', message: /no list/ })
  await t.rejects(engine.networks(), { code: 'ENGINE_UNAVAILABLE' })
  t.strictSame(await engine.version(), { version: '', api: '', kernel: '' })
  t.equal(await engine.inspect(id), undefined)
})

test('a container that is not there, and a question that fails', async (t) => {
  const gone = await engineThatSays(t, 404, '{"message":"No such container"}')
  t.equal(await gone.inspect(id), undefined)
  const broken = await engineThatSays(t, 500, '{"message":"disk full"}')
  const questions: readonly Promise<unknown>[] = [broken.inspect(id), broken.list(), broken.version()]
  for (const question of questions)
    await t.rejects(question, { code: 'ENGINE_UNAVAILABLE', message: /disk full/ })
  const signal = AbortSignal.timeout(20_000)
  await t.rejects(broken.events(undefined, signal), { code: 'ENGINE_UNAVAILABLE', message: /disk full/ })
})
