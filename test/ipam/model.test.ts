/**
 * The law of addresses: no two reachable containers ever share one, whatever happens in whatever order; and when
 * the troubles end, every running container gets an address again. `DROVER_MODEL_STEPS` and `DROVER_MODEL_SEED`
 * make it longer, or repeat a run.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'tap'
import { parseIpv4 } from '../../model/ip.ts'
import { millis } from '../../model/time.ts'
import { MemoryLedger, SeededRandom } from '../support/ports.ts'
import { type Link, type ModelContainer, type ModelHost, World } from './world.ts'

const steps = Number(process.env.DROVER_MODEL_STEPS ?? 100_000)
const firstSeed = Number(process.env.DROVER_MODEL_SEED ?? 20_261_121)
const stepsPerWorld = 5_000

type Step = (world: World, host: ModelHost) => string

function oneOf<T>(random: SeededRandom, items: readonly T[]): T | undefined {
  return items[random.below(Math.max(1, items.length))]
}

const some = (world: World, host: ModelHost, state?: ModelContainer['state']): ModelContainer | undefined =>
  oneOf(
    world.random,
    [...host.containers.values()].filter((one) => state === undefined || one.state === state),
  )

/** Asks for an address as the daemon does on start; attaches with what comes, unless it stopped meanwhile. */
function attach(host: ModelHost, container: ModelContainer, requested: readonly string[]): void {
  const { allocator } = host
  if (allocator === undefined) return
  const question = { allocator, asked: host.clock.boot() }
  host.questions.add(question)
  void allocator.allocate(container.id, requested).then((answer) => {
    host.questions.delete(question)
    const current = host.allocator === allocator && host.containers.get(container.id) === container
    if (answer.is !== 'address' || !current || container.state !== 'running') return
    if (allocator.addressOf(container.id) === answer.address) container.attached = answer.address
  })
}

const create: Step = (world, host) => {
  if (host.containers.size > 30) return remove(world, host)
  const container: ModelContainer = { id: world.containerId(), state: 'running', attached: undefined }
  host.containers.set(container.id, container)
  const pinned = world.random.below(3) === 0
  const wanted = pinned ? [`10.42.0.${world.random.below(140)}`] : []
  attach(host, container, wanted)
  return `create ${container.id.slice(-5)} ${wanted}`
}

const stop: Step = (world, host) => {
  const container = some(world, host, 'running')
  if (container === undefined) return 'stop nothing'
  container.state = 'stopped'
  container.attached = undefined
  host.allocator?.stopped(container.id)
  return `stop ${container.id.slice(-5)}`
}

const start: Step = (world, host) => {
  const container = some(world, host)
  if (container === undefined) return 'start nothing'
  container.state = 'running'
  attach(host, container, [])
  return `start ${container.id.slice(-5)}`
}

const remove: Step = (world, host) => {
  const container = some(world, host)
  if (container === undefined) return 'remove nothing'
  host.containers.delete(container.id)
  host.allocator?.removed(container.id)
  return `remove ${container.id.slice(-5)}`
}

const live: Step = (_, host) => {
  host.live()
  return 'live'
}

const crash: Step = (_, host) => {
  host.restart()
  host.allocator?.retain(new Set(host.containers.keys()))
  return 'crash'
}

const link: Step = (world, host) => {
  const links: readonly Link[] = ['up', 'up', 'up', 'up', 'cut', 'loses answers', 'hangs']
  const next = oneOf(world.random, links) ?? 'up'
  if (host.door.link === 'hangs' && next !== 'hangs') return crash(world, host) // what hangs never comes back
  host.door.link = next
  if (next !== 'up') host.stale = true
  return next
}

const jump: Step = (world, host) => {
  const by = (world.random.below(240) - 120) * 1000
  host.clock.jump(millis(by))
  return `clock ${by}`
}

/** The machine is set up anew: no ledger, another identity, its containers are gone. */
const reinstall: Step = (world, host) => {
  host.containers.clear()
  host.ledger = new MemoryLedger()
  host.id = world.hostId()
  host.renewedAt = Number.NEGATIVE_INFINITY
  host.restart()
  return `reinstall ${host.id.slice(0, 4)}`
}

const wait: Step = (world) => {
  const by = world.random.below(40) === 0 ? 10_000 + world.random.below(80_000) : world.random.below(1500)
  world.pass(by)
  return `wait ${by}`
}

const table: readonly (readonly [number, Step])[] = [
  [14, create],
  [8, stop],
  [10, start],
  [8, remove],
  [34, live],
  [2, crash],
  [3, link],
  [1, jump],
  [20, wait],
]

function draw(random: SeededRandom): Step {
  if (random.below(2000) === 0) return reinstall
  let at = random.below(100)
  for (const [weight, step] of table) {
    at -= weight
    if (at < 0) return step
  }
  return live
}

async function play(seed: number, count: number): Promise<string | undefined> {
  const world = new World(new SeededRandom(seed), 4)
  const history: string[] = []
  const failed = (what: string): string => `seed ${seed}: ${what}\n${history.slice(-40).join('\n')}`
  for (let at = 0; at < count; at++) {
    const index = world.random.below(world.hosts.length)
    const host = world.hosts[index]
    if (host === undefined) continue
    const step = draw(world.random)
    history.push(`${at} t=${world.now} host ${index}: ${step(world, host)}`)
    if (world.random.below(2) === 0) {
      await turn()
      if (world.hosts.some((one) => one.isLate())) return failed('no answer within two seconds')
    }
    const [conflict] = world.conflicts()
    if (conflict !== undefined) return failed(conflict)
  }
  return (await recovers(world)) ? undefined : failed('running containers are left without an address')
}

/** When everything is well again and space is there, every running container gets an address. */
async function recovers(world: World): Promise<boolean> {
  for (const host of world.hosts) {
    host.restart()
    host.door.link = 'up'
    host.allocator?.retain(new Set([...host.containers.keys()].slice(0, 5)))
    for (const id of [...host.containers.keys()].slice(5)) host.containers.delete(id)
  }
  for (let round = 0; round < 60; round++) {
    world.pass(2500)
    for (const host of world.hosts) host.live()
    for (let turns = 0; turns < 3; turns++) await turn()
    for (const host of world.hosts) {
      for (const one of host.containers.values())
        if (one.state === 'running' && one.attached === undefined) attach(host, one, [])
    }
    await turn()
    if (world.conflicts().length > 0) return false
  }
  return world.hosts.every((host) =>
    [...host.containers.values()].every((one) => one.state === 'stopped' || one.attached !== undefined),
  )
}

test(`no two reachable containers share an address in ${steps} random steps`, {
  timeout: 3_600_000,
}, async (t) => {
  t.ok(parseIpv4('10.42.0.1'))
  for (let done = 0, seed = firstSeed; done < steps; done += stepsPerWorld, seed++) {
    const failure = await play(seed, Math.min(stepsPerWorld, steps - done))
    if (failure !== undefined) {
      t.fail(failure)
      return
    }
  }
  t.pass(`${steps} steps from seed ${firstSeed}`)
})
