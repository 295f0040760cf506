/**
 * The resolvers of the two C libraries that containers have, musl's and glibc's, in a real container: names of every
 * length resolve at the first call, and no question is asked twice, which is what a stall looks like from here. The
 * container's own upstream is dead.
 */
import { copyFileSync } from 'node:fs'
import { request } from 'node:http'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Test, test } from 'tap'
import type { AskedView } from '../../daemon/dns-admin.ts'
import { must, until } from '../../lab/command.ts'
import type { LabHost } from '../../lab/host.ts'
import { root } from '../../lab/layout.ts'
import { extraPackages, missingPackages } from '../../setup/packages.mjs'
import { addressOf, labFor, labNeeds, resolve, resolvesTo } from '../support/lab.ts'

const needs = missingPackages(extraPackages).includes('musl-tools')
  ? { skip: 'needs musl-tools' }
  : labNeeds()

/** One program by both, with all that it loads, in one folder: nothing of the container's own files is needed. */
async function resolvers(folder: string): Promise<ReadonlyMap<string, readonly string[]>> {
  const source = join(root, 'test/fixtures/resolve.c')
  const glibc = join(folder, 'glibc')
  await must(['musl-gcc', '-static', '-o', join(folder, 'musl'), source])
  await must(['gcc', '-o', glibc, source])
  const libraries = [...(await must(['ldd', glibc])).matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path)
  for (const path of libraries) copyFileSync(path, join(folder, basename(path)))
  const loader = libraries.map((path) => basename(path)).find((name) => name.startsWith('ld-')) ?? ''
  return new Map([
    ['musl', ['/libc/musl']],
    ['glibc', [`/libc/${loader}`, '--library-path', '/libc', '/libc/glibc']],
  ])
}

/** Every question of a container, as it comes. */
async function followed(t: Test, host: LabHost, container: string): Promise<readonly AskedView[]> {
  const asked: AskedView[] = []
  const path = `/v1/dns/log?container=${container}`
  await new Promise<void>((resolve, reject) => {
    const call = request({ socketPath: host.entry.admin, path }, (response) => {
      const lines = createInterface({ input: response })
      lines.on('line', (line) => {
        if (line === '{}') resolve()
        else asked.push(JSON.parse(line) as AskedView)
      })
      // It ends when the test does.
      for (const one of [response, lines]) one.on('error', () => {})
    })
    call.on('error', reject)
    call.end()
    t.teardown(() => void call.destroy())
  })
  return asked
}

test('names by the resolvers of C libraries', needs, async (t) => {
  const lab = await labFor(t, { what: 'libc', hosts: 1, store: 'embedded' })
  const host = lab.host(1)
  const folder = t.testdir()
  const programs = await resolvers(folder)
  const args = ['--dns', '192.0.2.53', '-v', `${folder}:/libc:ro`]
  await Promise.all([
    host.managed({ name: 'web', stack: 'shop', service: 'web' }),
    host.managed({ name: 'client', stack: 'shop', service: 'client', args }),
  ])
  const web = await addressOf(host, 'web')
  await resolvesTo(host, 'client', 'web.shop.rancher.internal', [web])
  const asked = await followed(t, host, 'client')
  const wanted = new Map([
    ['web', web],
    ['web.shop', web],
    ['web.shop.rancher.internal', web],
    ['1.web', web],
    ['rancher-metadata', '169.254.169.250'],
    ['rancher-metadata.rancher.internal', '169.254.169.250'],
  ])
  let marks = 0

  for (const [libc, command] of programs)
    for (const [name, address] of wanted)
      await t.test(`${libc}: ${name}`, async (t) => {
        const from = asked.length
        const { code, stdout, stderr } = await host.inside('client', ...command, name)
        t.equal(code, 0, stderr)
        t.equal(stdout.trim(), address)
        const mark = `mark-${++marks}.rancher.internal`
        await resolve(host, 'client', mark)
        await until('the questions up to here', () => asked.some((one) => one.name === mark) || undefined)
        const questions = asked.slice(from).filter((one) => !one.name.startsWith('mark-'))
        const said = questions.map((one) => `${one.name} ${one.type} ${one.rcode}`)
        t.strictSame(said, [...new Set(said)], 'no question was asked again')
        t.ok(said.length > 0)
        t.comment(said.join(', '))
        t.ok(
          questions.every(({ rcode }) => rcode === 'NOERROR' || rcode === 'NXDOMAIN'),
          said.join(),
        )
      })

  await t.test('a name that does not exist', async (t) => {
    for (const [libc, command] of programs)
      t.equal((await host.inside('client', ...command, 'nosuch')).code, 2, `${libc} says so`)
  })
})
