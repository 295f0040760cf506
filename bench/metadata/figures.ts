/**
 * What is measured of the metadata service in one round, beside servers that know one answer.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { loaded, type Outcome } from '../dns/load.ts'
import { questionsFor } from '../dns/names.ts'
import type { Figures } from '../report.ts'
import { percentile } from '../table.ts'
import { serviceNames as names } from './environment.ts'
import type { Program } from './program.ts'
import { address, asked, fetched, ours, type Place, poller, withServer } from './scene.ts'

const json = ['Accept: application/json']
const zipped = [...json, 'Accept-Encoding: gzip']
const scalar = '/latest/self/container/primary_ip'

/** One word, as fast as it goes, and what it costs. */
export async function scalars(place: Place): Promise<Figures> {
  const one = async (name: string, program: Program): Promise<Figures> => {
    await asked({ ...place, seconds: 1 }, scalar)
    const before = program.processor
    const { rate, p99 } = await asked(place, scalar)
    const took = (program.processor - before) / (rate * place.seconds)
    return { [`${name}, answers/s`]: rate, [`${name}, p99 ms`]: p99, [`${name}, processor µs/answer`]: took }
  }
  const constant = (kind: string): Promise<Figures> =>
    withServer(place, 'constant.ts', [kind, address, '12'], (program) => one(`scalar: ${kind}`, program))
  return {
    ...(await constant('node')),
    ...(await constant('fastify')),
    ...(await ours(place, 1000, (program) => one('scalar: drover', program))),
  }
}

/** All of 1,000 containers as JSON; beside it node:http with a constant of the same size. */
export async function listings(place: Place): Promise<Figures> {
  let size = 0
  const drover = await ours(place, 1000, async () => {
    size = statSync(await fetched(place, '/latest/containers', json)).size
    await fetched(place, '/latest/containers', zipped)
    const plain = await asked(place, '/latest/containers', json)
    const compressed = await asked(place, '/latest/containers', zipped)
    return { 'listing: drover, answers/s': plain.rate, 'listing: drover gzip, answers/s': compressed.rate }
  })
  const node = await withServer(place, 'constant.ts', ['node', address, String(size)], () =>
    asked(place, '/'),
  )
  return { 'listing: bytes': size, ...drover, 'listing: node, answers/s': node.rate }
}

const difference = (from: unknown, to: unknown): number =>
  Number(BigInt(String(to)) - BigInt(String(from))) / 1e6

/** From the daemon's `apply` to the answer of a poll that waits for it, and of the next listing; 5,000 containers. */
export async function changes(place: Place): Promise<Figures> {
  return ours(place, 5000, async (program) => {
    const visible: number[] = []
    const listed: number[] = []
    for (let round = 0; round < 30; round++) {
      const version = readFileSync(await fetched(place, '/latest/version'), 'utf8')
      const poll = poller(place, 1, `/latest/version?wait=true&value=${version}`)
      await poll.said()
      await waitingIs(program, 1)
      const { at } = await program.ask('change')
      const { first } = await poll.said()
      await poll.end()
      visible.push(difference(at, first))
      listed.push(await listingAfterChange(place, program))
    }
    return {
      'change: visible, median ms': percentile(visible, 0.5),
      'change: visible, p99 ms': percentile(visible, 0.99),
      'change: in the whole listing, median ms': percentile(listed, 0.5),
    }
  })
}

/** A poll on the listing itself: its new body is 5 MB. */
async function listingAfterChange(place: Place, program: Program): Promise<number> {
  const head = await place.client.runner.run([
    'curl',
    '-sSI',
    '-H',
    json[0] ?? '',
    `http://${address}/latest/containers`,
  ])
  const etag = /etag: "([^"]+)"/i.exec(head)?.[1] ?? ''
  const path = `/latest/containers?wait=true&value=${encodeURIComponent(etag)}`
  const poll = poller(place, 1, path, 'application/json')
  await poll.said()
  await waitingIs(program, 1)
  const { at } = await program.ask('change')
  const { first } = await poll.said()
  await poll.end()
  return difference(at, first)
}

async function waitingIs(program: Program, wanted: number): Promise<void> {
  let waiting = 0
  for (const end = Date.now() + 60_000; Date.now() < end; await pause(5)) {
    waiting = Number((await program.ask('stats')).waiting)
    if (waiting === wanted) return
  }
  throw new RangeError(`${waiting} of ${wanted} polls wait`)
}

/** What the process holds with 5,000 containers after ten changes, every listing asked for each time. */
export async function memory(place: Place): Promise<Figures> {
  const resident = await ours(place, 5000, async (program) => {
    for (let round = 0; round < 10; round++) {
      await program.ask('change')
      for (const path of ['/latest/containers', '/latest/services', '/2016-07-29', '/2015-12-19'])
        await fetched(place, path, json)
      await fetched(place, '/latest/containers', zipped)
    }
    return program.memory
  })
  return { 'memory: 5,000 containers, MiB': resident }
}

/** So many long polls, held and then answered. */
async function held(place: Place, program: Program, count: number, path: string): Promise<Figures> {
  const before = program.memory
  const poll = poller(place, count, path)
  await poll.said()
  await waitingIs(program, count)
  const grown = program.memory - before
  const { at } = await program.ask('change')
  const { last, failed } = await poll.said()
  await poll.end()
  return { grown, all: difference(at, last), failed: Number(failed) }
}

export async function polls(place: Place, count = 10_000): Promise<Figures> {
  const named = (name: string, { grown = 0, all = 0, failed = 0 }: Figures): Figures => ({
    [`polls: ${name}, MiB`]: grown,
    [`polls: ${name}, all answered after ms`]: all,
    [`polls: ${name}, failed`]: failed,
  })
  const node = await withServer(place, 'constant.ts', ['hold', address, '36'], (program) =>
    held(place, program, count, '/latest/version'),
  )
  const drover = await ours(place, 1000, async (program) => {
    const version = readFileSync(await fetched(place, '/latest/version'), 'utf8')
    return held(place, program, count, `/latest/version?wait=true&value=${version}&maxWait=120`)
  })
  return { ...named('node', node), ...named('drover', drover) }
}

/** Latency of DNS and delays of the control loop, alone and beside the load of metadata. */
export async function neighbours(place: Place): Promise<Figures> {
  return ours(
    place,
    5000,
    async (program) => {
      const questions = `${place.folder}/questions`
      const question = {
        questions,
        seconds: place.seconds,
        rate: 2000,
        outstanding: 20,
        clients: 2,
        each: true,
      }
      const dns = (): Promise<Outcome> => loaded(place.client, address, program.pid, question)
      writeFileSync(questions, questionsFor(names, 10_000))
      const during = async (load?: () => Promise<unknown>): Promise<Figures> => {
        await program.ask('delay')
        const [{ p50, p99 }] = await Promise.all([dns(), load?.()])
        const delay = await program.ask('delay')
        return { p50, p99, loop: Number(delay.p99), longest: Number(delay.max) }
      }
      const named = (name: string, { p50 = 0, p99 = 0, loop = 0, longest = 0 }: Figures): Figures => ({
        [`beside ${name}: DNS median ms`]: p50,
        [`beside ${name}: DNS p99 ms`]: p99,
        [`beside ${name}: control loop p99 ms`]: loop,
        [`beside ${name}: control loop longest ms`]: longest,
      })
      const idle = await during()
      const many = await during(() => asked(place, scalar))
      const big = await during(() => asked(place, '/2016-07-29', json))
      return { ...named('nothing', idle), ...named('scalars', many), ...named('17 MB bodies', big) }
    },
    'dns',
  )
}
