/** What may happen in the model's world, and how often: containers come and go, hosts and their store have troubles. */
import { setImmediate as turn } from 'node:timers/promises'
import { millis } from '../../model/time.ts'
import { MemoryLedger, type SeededRandom } from '../support/ports.ts'
import { grace, type ModelContainer, type ModelHost } from './model-host.ts'
import type { Link } from './shared-store.ts'
import type { World } from './world.ts'

const lagLimit = 3000 // a watch that is later than this counts as stale

type Step = (world: World, host: ModelHost) => string | Promise<string>

function oneOf<T>(random: SeededRandom, items: readonly T[]): T | undefined {
  return items[random.below(Math.max(1, items.length))]
}

const some = (world: World, host: ModelHost, state?: ModelContainer['state']): ModelContainer | undefined =>
  oneOf(
    world.random,
    [...host.containers.values()].filter((one) => state === undefined || one.state === state),
  )

/** Asks for an address as the daemon does on start; attaches with what comes, unless it stopped meanwhile. */
export function attach(world: World, host: ModelHost, container: ModelContainer, requested: string[]): void {
  const { allocator, clock } = host
  const question = { allocator, asked: clock.boot() }
  host.questions.add(question)
  void allocator.allocate(container.id, requested).then((answer) => {
    host.questions.delete(question)
    if (host.allocator !== allocator || !host.process.alive) return
    if (answer.is !== 'address') world.note(`answer: ${answer.is}, ${answer.why.replaceAll(/[\d.]+/g, 'N')}`)
    else if (answer.problem !== undefined)
      world.note(
        `problem: ${answer.problem.replaceAll(/(host|container) [0-9a-f-]+/g, '$1 N').replaceAll(/[\d./]+/g, 'N')}`,
      )
    const current = host.containers.get(container.id) === container && container.state === 'running'
    if (answer.is !== 'address' || !current) return
    if (allocator.addressOf(container.id) === answer.address) container.attached = answer.address
  })
}

const create: Step = (world, host) => {
  if (host.containers.size > 30) return remove(world, host)
  const container: ModelContainer = { id: world.containerId(), state: 'running', attached: undefined }
  host.containers.set(container.id, container)
  const wanted = world.random.below(3) === 0 ? [`10.42.0.${world.random.below(140)}`] : []
  attach(world, host, container, wanted)
  return `create ${container.id.slice(-5)} ${wanted}`
}

const stop: Step = (world, host) => {
  const container = some(world, host, 'running')
  if (container === undefined) return 'stop nothing'
  container.state = 'stopped'
  container.attached = undefined
  host.allocator.stopped(container.id)
  return `stop ${container.id.slice(-5)}`
}

const start: Step = (world, host) => {
  const container = some(world, host)
  if (container === undefined) return 'start nothing'
  container.state = 'running'
  attach(world, host, container, [])
  return `start ${container.id.slice(-5)}`
}

const remove = (world: World, host: ModelHost): string => {
  const container = some(world, host)
  if (container === undefined) return 'remove nothing'
  host.containers.delete(container.id)
  host.allocator.removed(container.id)
  return `remove ${container.id.slice(-5)}`
}

/** A service goes: blocks become empty. */
const removeMany: Step = (world, host) => {
  for (let count = 0; count < 12; count++) remove(world, host)
  return 'remove many'
}

const live: Step = (_, host) => {
  host.live()
  return 'live'
}

const crash: Step = (_, host) => {
  host.restart()
  host.allocator.retain(new Set(host.containers.keys()))
  return 'crash'
}

const link: Step = (world, host) => {
  const links: readonly Link[] = [
    'up',
    'up',
    'up',
    'slow',
    'slow',
    'cut',
    'loses answers',
    'loses everything',
  ]
  host.link = oneOf(world.random, links) ?? 'up'
  return host.link
}

const lag: Step = (world, host) => {
  host.lag = Math.max(0, world.random.below(2 * lagLimit) - lagLimit)
  return `lag ${host.lag}`
}

/** Short, or long, or about as long as it takes until others take back what the host has. */
function absence(random: SeededRandom): number {
  const kind = random.below(4)
  if (kind < 2) return grace + 5000 + random.below(12_000)
  return kind === 2 ? random.below(20_000) : random.below(150_000)
}

const sleep: Step = (world, host) => {
  const length = absence(world.random)
  host.sleep()
  world.later(length + 1, () => host.wake())
  return `sleep ${length}`
}

const jump: Step = (world, host) => {
  const by = (world.random.below(240) - 120) * 1000
  host.clock.jump(millis(by))
  return `clock ${by}`
}

const reboot: Step = (world, host) => {
  const error = world.random.below(2) === 0 ? 0 : (world.random.below(200) - 150) * 1000
  const off = absence(world.random)
  host.powerOff()
  world.later(off + 1, () => {
    if (error !== 0) world.note('a host rebooted with a wrong clock')
    if (error !== 0 && off > grace) world.note('a host was off for the grace and has a wrong clock')
    host.boot(error)
    host.allocator.retain(new Set(host.containers.keys()))
  })
  return `reboot, off for ${off}, clock ${error}`
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

export const wait: Step = (world) => {
  const by = world.random.below(1500)
  world.pass(by)
  for (const host of world.hosts) if (world.random.below(2) === 0) host.live()
  return `wait ${by}`
}

/** A longer time in which little happens and every daemon goes on. */
const quiet: Step = async (world) => {
  const rounds = 5 + world.random.below(60)
  for (let round = 0; round < rounds; round++) {
    world.pass(500 + world.random.below(1500))
    for (const host of world.hosts) if (world.random.below(4) > 0) host.live()
    await turn()
  }
  return `quiet ${rounds}`
}

const table: readonly (readonly [number, Step])[] = [
  [400, create],
  [160, stop],
  [200, start],
  [150, remove],
  [25, removeMany],
  [300, live],
  [40, crash],
  [50, link],
  [30, lag],
  [22, sleep],
  [20, jump],
  [12, reboot],
  [2, reinstall],
  [500, wait],
  [8, quiet],
]

const whole = table.reduce((sum, [weight]) => sum + weight, 0)

export function draw(random: SeededRandom): Step {
  let at = random.below(whole)
  for (const [weight, step] of table) {
    at -= weight
    if (at < 0) return step
  }
  return live
}
