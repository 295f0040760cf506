/**
 * `npm run bench -- dns`: our resolver beside those of Debian, one after the other, each with the same names and the
 * same upstream, asked by dnsperf from another namespace. Figures per round, in turn; the report has medians.
 */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { residentMemory } from '../lab/command.ts'
import { node, root } from '../lab/layout.ts'
import { DroverError } from '../model/errors.ts'
import { dnsBenchPackages, installPackages, missingPackages } from '../setup/packages.mjs'
import { type NetnsWorld, type TestNetns, until } from '../test/support/netns.ts'
import { figures, type Questions } from './dns/figures.ts'
import { loaded } from './dns/load.ts'
import { domain, environmentOfSize, externalNames, questionsFor, servicesIn } from './dns/names.ts'
import { type Peer, peers, world as worldOf } from './dns/peers.ts'
import { reportOf } from './dns/report.ts'
import type { Figures } from './report.ts'
import { inScene } from './scene.ts'
import { keep } from './table.ts'

export const dnsUsage =
  'npm run bench -- dns [--seconds 3] [--rounds 3] [--services 2000] [--containers 10] [--only dnsmasq,drover] [--against FOLDER]'

const address = { server: '192.168.77.1', upstream: '192.168.78.1' }

interface Scene {
  readonly world: NetnsWorld
  readonly client: TestNetns
  readonly server: TestNetns
  readonly beyond: TestNetns
  readonly folder: string
  readonly names: ReadonlyMap<string, readonly string[]>
  readonly questions: Questions
}

async function sceneIn(world: NetnsWorld, folder: string, size: { services: number; containers: number }) {
  const [client, server, beyond] = [
    await world.netns('client'),
    await world.netns('server'),
    await world.netns('beyond'),
  ]
  await world.wire(server, `w0 ${address.server}/24`, client, 'w0 192.168.77.2/24')
  await world.wire(beyond, `w0 ${address.upstream}/24`, server, 'w1 192.168.78.2/24')
  await beyond.sh('ip route add 192.168.77.0/24 via 192.168.78.2')
  world.spawn(beyond, worldOf(address.upstream))
  const names = servicesIn(environmentOfSize(size))
  const local = join(folder, 'local')
  const external = join(folder, 'external')
  writeFileSync(local, questionsFor([...names.keys()], 50_000))
  writeFileSync(external, questionsFor(externalNames, 50_000))
  const scene: Scene = { world, client, server, beyond, folder, names, questions: { local, external } }
  await answers(scene, address.upstream, externalNames[0] ?? '', client)
  return scene
}

/** Waits until a server knows a name, asked from where it is. */
async function answers(scene: Scene, server: string, name: string, from = scene.server): Promise<void> {
  const space = server === address.upstream ? scene.server : from
  await until(
    `${server} answering ${name}`,
    async () => {
      const { stdout } = await space.runner.attempt([
        'dig',
        `@${server}`,
        '+time=1',
        '+tries=1',
        '+short',
        name,
      ])
      return /^[0-9.]+$/m.test(stdout)
    },
    60_000,
  )
}

/** As fast as one process sends it, from the namespace beyond the server; ends once, however often it is told. */
function garbageFrom({ world, beyond }: Scene): () => Promise<number> {
  const script = join(root, 'bench', 'dns', 'garbage.ts')
  const child = world.spawn(beyond, [node, script, address.server])
  let said = ''
  child.stdout?.on('data', (chunk) => {
    said += String(chunk)
  })
  const closed = new Promise((resolve) => child.once('close', resolve))
  return async () => {
    child.stdin?.end()
    await closed
    return Number(said)
  }
}

async function roundOf(peer: Peer, scene: Scene, seconds: number): Promise<Figures> {
  const folder = mkdtempSync(join(scene.folder, 'peer-'))
  const argv = peer.prepare({ address: address.server, upstream: address.upstream, folder }, scene.names)
  const child = scene.world.spawn(scene.server, argv)
  let words = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk) => {
      words = (words + String(chunk)).slice(-500)
    })
  const pid = child.pid ?? 0
  try {
    await answers(scene, address.server, [...scene.names.keys()].at(-1) ?? '', scene.client)
    await answers(scene, address.server, externalNames[0] ?? '', scene.client)
    const round: Partial<Record<string, number>> = {}
    const ask = (load: Parameters<typeof loaded>[3]) => loaded(scene.client, address.server, pid, load)
    const flood = () => garbageFrom(scene)
    for (const figure of figures)
      Object.assign(round, await figure.measure(ask, scene.questions, seconds, flood))
    return { ...round, 'memory, MiB': residentMemory(pid) / 1024 }
  } catch (cause) {
    throw new DroverError('COMMAND_FAILED', `${peer.name}: ${words}`, { cause })
  } finally {
    const gone = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGKILL')
    await gone
  }
}

function argumentsOf(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '3' },
      rounds: { type: 'string', default: '3' },
      services: { type: 'string', default: '2000' },
      containers: { type: 'string', default: '10' },
      only: { type: 'string' },
      against: { type: 'string' },
    },
  })
  const number = (text: string): number => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < 1) throw new DroverError('USAGE', dnsUsage)
    return value
  }
  const size = { services: number(values.services), containers: number(values.containers) }
  return { ...values, seconds: number(values.seconds), rounds: number(values.rounds), size }
}

export async function benchDns(args: readonly string[]): Promise<void> {
  const { seconds, rounds, size, only, against } = argumentsOf(args)
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  const missing = missingPackages(dnsBenchPackages)
  if (missing.length > 0) installPackages(missing)
  const all = await peers(against, say)
  const chosen = all.filter(
    ({ name }) => only === undefined || only.split(',').some((one) => name.includes(one)),
  )
  await inScene(async ({ world, folder }) => {
    const scene = await sceneIn(world, folder, size)
    const measured = new Map<string, Figures[]>(chosen.map(({ name }) => [name, []]))
    for (let round = 1; round <= rounds; round++) {
      for (const peer of chosen) {
        say(`round ${round} of ${rounds}: ${peer.name}`)
        measured.get(peer.name)?.push(await roundOf(peer, scene, seconds))
      }
    }
    const text = await reportOf(measured, { seconds, rounds, ...size, domain })
    say(`\n${text}`)
    if (only === undefined) say(`kept in ${keep('dns', text)}`)
  })
}
