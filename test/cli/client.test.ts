/** The client of the admin socket against the real server: what the daemon refuses comes back as what it was. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { AdminClient } from '../../cli/client.ts'
import { DroverError } from '../../model/errors.ts'
import { startAdmin } from '../../status/server.ts'

test('what the daemon refuses', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'dt-client-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const socket = join(folder, 'drover.sock')
  const commands = {
    wrong: () => Promise.reject(new DroverError('USAGE', 'there is no host h9')),
    away: () => Promise.reject(new DroverError('STORE_UNAVAILABLE', '192.0.2.1:2379')),
    broken: () => Promise.reject(new TypeError('a bug')),
    right: async () => ({ done: true }),
  }
  const actions = { views: {}, commands, streams: {}, metrics: async () => '', explain: () => undefined }
  const server = await startAdmin(actions, socket)
  t.teardown(() => server.close())
  const client = new AdminClient(socket)
  t.strictSame(await client.post('/v1/right', {}), { done: true })
  await t.rejects(client.post('/v1/wrong', {}), {
    code: 'USAGE',
    line: 'the command line is not valid: there is no host h9; see `drover --help`',
  })
  await t.rejects(client.post('/v1/away', {}), {
    code: 'DAEMON_REFUSED',
    message: /store does not answer: 192\.0\.2\.1:2379; check/,
  })
  await t.rejects(client.post('/v1/broken', {}), { code: 'DAEMON_REFUSED', message: /: a bug$/ })
  await t.rejects(new AdminClient(join(folder, 'none')).get('/v1/status'), { code: 'DAEMON_UNREACHABLE' })
})
