/**
 * dnsperf against one server: what it printed, and the processor time that the server took for it.
 */
import { readFileSync } from 'node:fs'
import { DroverError } from '../../model/errors.ts'
import type { TestNetns } from '../../test/support/netns.ts'
import { percentile } from '../table.ts'

export interface Load {
  readonly questions: string
  readonly seconds: number
  readonly transport?: 'udp' | 'tcp'
  /** Questions a second; as many as go without it. */
  readonly rate?: number
  readonly outstanding: number
  readonly clients: number
  /** Reports every answer, for the distribution of latency. */
  readonly each?: boolean
}

export interface Outcome {
  readonly rate: number
  readonly lost: number
  /** Share of questions without an answer. */
  readonly loss: number
  readonly failed: number
  /** Microseconds of processor time per answer. */
  readonly processor: number
  /** Milliseconds; NaN without `each`. */
  readonly p50: number
  readonly p99: number
}

const tick = 10_000 // microseconds: USER_HZ is 100 on every Linux

/** Microseconds of processor time, threads and waited-for children included. */
export function processorTime(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at] ?? 0), 0) * tick
}

export async function loaded(client: TestNetns, server: string, pid: number, load: Load): Promise<Outcome> {
  const argv = [
    'dnsperf',
    '-s',
    server,
    '-d',
    load.questions,
    '-l',
    String(load.seconds),
    '-t',
    '1',
    '-T',
    '1',
  ]
  argv.push('-q', String(load.outstanding), '-c', String(load.clients), '-b', '4096')
  if (load.transport === 'tcp') argv.push('-m', 'tcp')
  if (load.rate !== undefined) argv.push('-Q', String(load.rate))
  if (load.each === true) argv.push('-v')
  const before = processorTime(pid)
  const { stdout, stderr, status } = await client.runner.attempt(argv)
  const took = processorTime(pid) - before
  if (status !== 0) throw new DroverError('COMMAND_FAILED', `dnsperf: ${stderr}`)
  return outcomeOf(stdout, took)
}

function outcomeOf(text: string, took: number): Outcome {
  const number = (label: string): number =>
    Number(new RegExp(`${label}:\\s+([0-9.]+)`).exec(text)?.[1] ?? Number.NaN)
  const [sent, completed, lost] = [
    number('Queries sent'),
    number('Queries completed'),
    number('Queries lost'),
  ]
  const good = Number(/NOERROR (\d+)/.exec(/Response codes:.*/.exec(text)?.[0] ?? '')?.[1] ?? 0)
  const times = [...text.matchAll(/^> NOERROR \S+ \S+ ([0-9.]+)$/gm)].map((match) => Number(match[1]) * 1000)
  return {
    rate: number('Queries per second'),
    lost,
    loss: lost / sent,
    failed: completed - good,
    processor: took / completed,
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
  }
}
