/**
 * Where the metadata benchmark takes place: a server and a client in namespaces of their own with a wire between them,
 * and wrk beside the server as the client that asks without pause.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DroverError } from '../../model/errors.ts'
import type { NetnsWorld, TestNetns } from '../../test/support/netns.ts'
import { Program } from './program.ts'

export const address = '192.168.77.1'
const clientAddress = '192.168.77.2'

export interface Place {
  readonly world: NetnsWorld
  readonly server: TestNetns
  readonly client: TestNetns
  readonly folder: string
  readonly seconds: number
}

export async function placeIn(world: NetnsWorld, folder: string, seconds: number): Promise<Place> {
  const [server, client] = [await world.netns('server'), await world.netns('client')]
  await world.wire(server, `w0 ${address}/24`, client, `w0 ${clientAddress}/24`)
  // Ports of ten thousand polls that have ended are not free for a minute: a few rounds would take all.
  await client.runner.run(['sysctl', '-qw', 'net.ipv4.tcp_tw_reuse=1'])
  return { world, server, client, folder, seconds }
}

/** Runs a server for as long as `work` lasts; it has said that it is ready. */
export async function withServer<T>(
  { world, server }: Place,
  file: string,
  args: readonly string[],
  work: (program: Program) => Promise<T>,
): Promise<T> {
  const program = new Program(world, server, file, args)
  try {
    await program.said()
    return await work(program)
  } finally {
    await program.end()
  }
}

/** Ours, with so many containers, and with the resolver where `beside` says so. */
export const ours = <T>(
  place: Place,
  containers: number,
  work: (program: Program) => Promise<T>,
  ...beside: readonly 'dns'[]
): Promise<T> => withServer(place, 'server.ts', [address, String(containers), address, ...beside], work)

export interface Rate {
  /** Answers a second. */
  readonly rate: number
  /** Milliseconds. */
  readonly median: number
  readonly p99: number
}

const unit: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000 }

/** wrk over loopback, as it was with the original: one thread, 16 connections. */
export async function asked(
  { server, seconds }: Place,
  path: string,
  headers: readonly string[] = [],
): Promise<Rate> {
  const extra = headers.flatMap((header) => ['-H', header])
  const argv = ['wrk', '-t1', '-c16', `-d${seconds}s`, '--latency', ...extra, `http://${address}${path}`]
  const { stdout, stderr, status } = await server.runner.attempt(argv)
  if (status !== 0 || stdout.includes('Non-2xx'))
    throw new DroverError('COMMAND_FAILED', `wrk ${path}: ${stdout}${stderr}`)
  const latency = (share: string): number => {
    const [, value, of = 'ms'] = new RegExp(`${share}%\\s+([0-9.]+)(us|ms|s)`).exec(stdout) ?? []
    return Number(value) * (unit[of] ?? 1)
  }
  return {
    rate: Number(/Requests\/sec:\s+([0-9.]+)/.exec(stdout)?.[1]),
    median: latency('50'),
    p99: latency('99'),
  }
}

/** One request from the client's namespace; the body. */
export async function fetched({ client, folder }: Place, path: string, headers: readonly string[] = []) {
  const file = join(folder, 'body')
  writeFileSync(file, '')
  const extra = headers.flatMap((header) => ['-H', header])
  await client.runner.run(['curl', '-sS', '-o', file, ...extra, `http://${address}${path}`])
  return file
}

/** So many long polls at once, from the client's namespace. */
export const poller = ({ world, client }: Place, count: number, path: string, accept = '*/*'): Program =>
  new Program(world, client, 'poller.ts', [address, String(count), path, accept])
