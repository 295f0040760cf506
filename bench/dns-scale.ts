/**
 * `npm run bench -- dns-scale`: the zone of a large environment. What it takes to make all of it and one change of
 * it, how soon a change is answered, how long a question waits while all of it is taken in, and its memory.
 */

import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Worker } from 'node:worker_threads'
import { startDns } from '../dns/dns.ts'
import { ZoneProjection } from '../dns/zone/projection.ts'
import type { Environment } from '../model/environment.ts'
import { DroverError } from '../model/errors.ts'
import { formatIpv4, type Ipv4 } from '../model/ip.ts'
import { MemoryLog, MemoryMeter } from '../test/support/ports.ts'
import { realClock } from '../test/support/real-clock.ts'
import { ip } from '../test/support/snapshots.ts'
import { piecesOf } from '../test/support/zone-of.ts'
import type { Answered } from './dns/asker.ts'
import { domain, environmentOfSize } from './dns/names.ts'
import { keep, machine, markdown, percentile } from './table.ts'

export const dnsScaleUsage = 'npm run bench -- dns-scale [--services 5000] [--containers 10] [--rounds 20]'

const service = ip('169.254.169.250')
const megabyte = 1 << 20

/** The container whose address changes. */
const first = (environment: Environment) => {
  const [record] = environment.containers.values()
  if (record === undefined) throw new DroverError('USAGE', dnsScaleUsage)
  return record
}

/** The same but for the address of one container. */
function changed(environment: Environment, revision: number): Environment {
  const record = first(environment)
  const address = (0x0a2afe00 + (revision % 200)) as Ipv4
  const containers = new Map(environment.containers).set(record.id, { ...record, address })
  return { ...environment, revision, containers }
}

function timed(work: () => unknown): number {
  const since = performance.now()
  work()
  return performance.now() - since
}

/** Milliseconds to make the zone out of nothing, and after a change, in the form in which it crosses to the thread. */
function projections(environment: Environment, rounds: number) {
  const whole: number[] = []
  const single: number[] = []
  for (let round = 0; round < rounds; round++) {
    // Each pays for its own garbage.
    collect()
    const projection = new ZoneProjection({ service })
    const rebuild = (snapshot: Environment) => () => piecesOf(projection.update(snapshot))
    whole.push(timed(rebuild(environment)))
    single.push(timed(rebuild(changed(environment, round + 2))))
  }
  return { whole, single }
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

async function until<T>(look: () => T | undefined, what: string): Promise<T> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const found = look()
    if (found !== undefined) return found
    if (performance.now() > deadline) throw new DroverError('COMMAND_FAILED', `still waiting: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** The real thing: a DNS thread, and a client that asks all the time. */
async function served(environment: Environment, rounds: number) {
  const dns = await startDns(
    { clock: realClock, log: new MemoryLog(), meter: new MemoryMeter() },
    { address: '127.0.0.1', port: 0, upstreams: [], resolvConf: '/nonexistent', domain, search: 'safe' },
  )
  const { name } = first(environment)
  const answers: Answered[] = []
  const options = { workerData: { port: dns.stats().port, name: `${name}.${domain}` } }
  const asker = new Worker(new URL('./dns/asker.ts', import.meta.url), options)
  asker.on('message', (answered: Answered) => void answers.push(answered))
  try {
    await until(() => answers[100], 'the first answers')
    collect()
    const before = process.memoryUsage.rss()
    const began = performance.timeOrigin + performance.now()
    dns.apply(environment)
    const taken = await until(() => answers.find(({ address }) => address !== ''), 'the zone')
    await until(() => answers.find(({ sent }) => sent > taken.came + 500), 'half a second more')
    const waits = answers.filter(({ sent }) => sent >= began).map(({ sent, came }) => came - sent)
    collect()
    const memory = process.memoryUsage.rss() - before
    const delays: number[] = []
    for (let round = 0; round < rounds; round++) {
      const next = changed(environment, round + 2)
      const wanted = formatIpv4(first(next).address as Ipv4)
      answers.length = 0
      const since = performance.timeOrigin + performance.now()
      dns.apply(next)
      const found = await until(() => answers.find(({ address }) => address === wanted), wanted)
      delays.push(found.came - since)
    }
    return { whole: taken.came - began, waits, memory, delays }
  } finally {
    await asker.terminate()
    await dns.close()
  }
}

const ms = (values: readonly number[], share: number): string => `${percentile(values, share).toFixed(1)} ms`

export async function benchDnsScale(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      services: { type: 'string', default: '5000' },
      containers: { type: 'string', default: '10' },
      rounds: { type: 'string', default: '20' },
    },
  })
  const [services, containers, rounds] = [values.services, values.containers, values.rounds].map(Number)
  if (!services || !containers || !rounds) throw new DroverError('USAGE', dnsScaleUsage)
  const count = services * containers
  const environment = environmentOfSize({ services, containers })
  // First, while nothing of the projections lies about.
  const real = await served(environment, rounds)
  const { whole, single } = projections(environment, rounds)
  const each = (real.memory / megabyte / count) * 10_000
  const table = markdown(
    ['what', 'median', 'worst'],
    [
      ['zone out of nothing, off the hot path', ms(whole, 0.5), ms(whole, 1)],
      ['zone after one change, off the hot path', ms(single, 0.5), ms(single, 1)],
      ['a change answered, after the snapshot', ms(real.delays, 0.5), ms(real.delays, 1)],
      ['the whole answered, after the first snapshot', `${real.whole.toFixed(0)} ms`, ''],
      ['a question while the whole is taken in', ms(real.waits, 0.5), ms(real.waits, 1)],
      ['memory for 10,000 containers, all threads', `${each.toFixed(1)} MiB`, ''],
    ],
  )
  const text = `# The zone of ${count} containers\n\n${machine()}; ${new Date().toISOString()}; ${rounds} rounds.\n\n${table}\n`
  process.stdout.write(`${text}\nkept in ${keep('dns-scale', text)}\n`)
}
