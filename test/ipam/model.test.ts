/**
 * The law of addresses: no two reachable containers ever share one, whatever happens in whatever order; and when
 * the troubles end, every running container gets an address again. `DROVER_MODEL_STEPS` and `DROVER_MODEL_SEED`
 * make it longer, or repeat a run; `DROVER_MODEL_SEEN=1` prints what the run has come across.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'tap'
import { SeededRandom } from '../support/ports.ts'
import { attach, draw, wait } from './steps.ts'
import { World } from './world.ts'

const steps = Number(process.env.DROVER_MODEL_STEPS ?? 100_000)
const firstSeed = Number(process.env.DROVER_MODEL_SEED ?? 1)
const stepsPerWorld = 5_000

/** What a run of some length must come across, or it proves little. */
const situations = [
  'a call landed after its sender had crashed',
  'a call landed after its sender had given it up',
  'a call landed and its answer was lost',
  'a fresh view was old',
  'a fresh view was older than an own write',
  'a host rebooted with a wrong clock',
  'a host slept for longer than its fence',
  'a host slept for longer than the grace',
  'a host was off for the grace and has a wrong clock',
  'an address was lost',
  'waiting, the store does not answer: this host was away from the store for too long',
  'waiting, the store does not answer: the own blocks are full and another cannot be claimed',
  'refused, no address is free',
  'freed addresses rest before they are given again',
  'refused, the container was removed meanwhile',
  'belongs to the block of host N which has not answered',
  'changed hands in this moment',
  'is taken by host N',
  'delete block if alive, revision: done',
  'delete block if alive, revision: refused by alive',
  'delete block if alive, revision: refused by revision',
  'delete block if revision: done',
  'delete pin if alive, revision: done',
  'put block if absent, pin: done',
  'put block if absent, pin: refused by absent',
  'put block if absent, pin: refused by pin',
  'put pin if absent, block: done',
  'put pin if absent, block: refused by block',
  'put pin if block, revision: done',
  'put pin if block, revision: refused by revision',
]

async function play(seed: number, count: number, seen: Map<string, number>): Promise<string | undefined> {
  // With more hosts than blocks somebody always waits for one that comes free.
  const world = new World(new SeededRandom(seed), seed % 4 === 0 ? 10 : 4, seen)
  const history: string[] = []
  const failed = (what: string): string => `seed ${seed}: ${what}\n${history.slice(-40).join('\n')}`
  for (let at = 0; at < count; at++) {
    const index = world.random.below(world.hosts.length)
    const host = world.hosts[index]
    if (host === undefined) continue
    const done = host.asleep ? wait(world, host) : draw(world.random)(world, host)
    history.push(`${at} t=${world.now} host ${index}: ${typeof done === 'string' ? done : await done}`)
    if (world.random.below(2) === 0 && (await isLate(world))) return failed('no answer within two seconds')
    const [problem] = world.problems()
    if (problem !== undefined) return failed(problem)
  }
  const left = await recovers(world)
  return left === undefined ? undefined : failed(left)
}

async function isLate(world: World): Promise<boolean> {
  await turn()
  const late = (): boolean => world.hosts.some((one) => !one.asleep && one.isLate())
  for (let more = 0; more < 3 && late(); more++) {
    world.pass(0) // timers that were set behind their time
    await turn()
  }
  return late()
}

/** When everything is well again and space is there, every running container gets an address. */
async function recovers(world: World): Promise<string | undefined> {
  for (const host of world.hosts) {
    host.wake()
    host.boot(0)
    host.restart()
    host.link = 'up'
    host.allocator.retain(new Set([...host.containers.keys()].slice(0, 5)))
    for (const id of [...host.containers.keys()].slice(5)) host.containers.delete(id)
  }
  for (let round = 0; round < 60; round++) {
    world.pass(2500)
    for (const host of world.hosts) host.live()
    for (let turns = 0; turns < 3; turns++) await turn()
    for (const host of world.hosts) {
      for (const one of host.containers.values())
        if (one.state === 'running' && one.attached === undefined) attach(world, host, one, [])
    }
    await turn()
    const [problem] = world.problems()
    if (problem !== undefined) return problem
  }
  const isServed =
    world.hosts.length > 8 ||
    world.hosts.every((host) =>
      [...host.containers.values()].every((one) => one.state === 'stopped' || one.attached !== undefined),
    )
  return isServed ? undefined : 'running containers are left without an address'
}

test(`no two reachable containers share an address in ${steps} random steps`, {
  timeout: 3_600_000,
}, async (t) => {
  const seen = new Map<string, number>()
  for (let done = 0, seed = firstSeed; done < steps; done += stepsPerWorld, seed++) {
    const failure = await play(seed, Math.min(stepsPerWorld, steps - done), seen)
    if (failure !== undefined) {
      t.fail(failure)
      return
    }
  }
  t.pass(`${steps} steps from seed ${firstSeed}`)
  if (steps >= 100_000)
    for (const situation of situations)
      t.ok(
        [...seen.keys()].some((one) => one.includes(situation)),
        situation,
      )
  if (process.env.DROVER_MODEL_SEEN)
    for (const [situation, count] of [...seen].sort()) t.comment(`${count} ${situation}`)
})
