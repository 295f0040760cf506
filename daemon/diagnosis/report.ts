/**
 * `drover report`: what somebody who was not there needs to find a fault, as one text without secrets: versions,
 * configuration, what doctor finds, status, the network's state, the last lines of the logs.
 */
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { SystemRunner } from '../../linux/run.ts'
import { DroverError, reasonOf } from '../../model/errors.ts'
import { networkNames } from '../../network/names.ts'
import type { DoctorView } from '../../status/doctor.ts'
import type { ConfigSources } from '../config/load.ts'
import { configOf } from '../config/machine-config.ts'
import type { Config } from '../config/resolve.ts'
import { version } from '../version.ts'
import { type AdminReader, type Connect, runDoctor } from './doctor.ts'
import { redacted } from './redact.ts'

interface Section {
  readonly title: string
  readonly text: string
}

const fileLines = 200
const journalLines = '300'

export async function runReport(sources: ConfigSources, connect: Connect): Promise<string> {
  const doctor = await runDoctor(sources, connect)
  const found = { title: 'doctor', text: shown(doctor) }
  const config = usableConfig(sources)
  const sections =
    config === undefined
      ? [...(await machine()), found]
      : [
          ...(await machine()),
          { title: 'configuration', text: shown(config) },
          found,
          ...(await asked(connect(config.admin), doctor)),
          ...(await network(config)),
          ...(await logs(config)),
        ]
  const head =
    'Drover report. Secrets are taken out; names and addresses are in it: read it before you publish it.'
  const text = sections.map((one) => `\n===== ${one.title}\n${one.text.trimEnd()}\n`).join('')
  return redacted(`${head}\n${text}`, config === undefined ? [] : secretsOf(config))
}

const shown = (value: unknown): string => JSON.stringify(value, null, 2)

function usableConfig(sources: ConfigSources): Config | undefined {
  try {
    return configOf(sources)
  } catch (error) {
    if (error instanceof DroverError) return undefined
    throw error
  }
}

/** Each command with what it says, whatever that is. */
function outputs(commands: readonly (readonly string[])[]): Promise<readonly Section[]> {
  const runner = new SystemRunner({}, {})
  return Promise.all(
    commands.map(async (argv) => {
      const { stdout, stderr } = await runner
        .attempt(argv)
        .catch((error: unknown) => ({ stdout: '', stderr: reasonOf(error) }))
      return { title: argv.join(' '), text: `${stdout}${stderr}` }
    }),
  )
}

async function machine(): Promise<readonly Section[]> {
  const system = /^PRETTY_NAME="?([^"\n]*)/m.exec(textOf('/etc/os-release'))?.[1] ?? 'unknown'
  const lines = [
    `drover ${version}`,
    `node ${process.version} ${process.arch}`,
    `kernel ${release()}`,
    `system ${system}`,
    `processors ${textOf('/proc/cpuinfo').match(/^processor/gm)?.length ?? 0}`,
    ...(textOf('/proc/meminfo').match(/^Mem(Total|Available).*/gm) ?? []),
  ]
  const programs = [
    ['ip', '-V'],
    ['nft', '-v'],
    ['iptables', '-V'],
    ['docker', '-v'],
    [
      'dpkg-query',
      '-W',
      'charon-systemd',
      'strongswan-swanctl',
      'libcharon-extra-plugins',
      'docker*',
      'etcd*',
    ],
  ]
  return [{ title: 'machine', text: lines.join('\n') }, ...(await outputs(programs))]
}

/** What the daemon shows, where it answers. */
async function asked(daemon: AdminReader, doctor: DoctorView): Promise<readonly Section[]> {
  if (!doctor.daemon) return []
  const views = ['status', 'hosts', 'ps']
  const sections = await Promise.all(
    views.map(async (name) => ({
      title: `drover ${name}`,
      text: await daemon.get(`/v1/${name}`).then(shown, reasonOf),
    })),
  )
  const log = await daemon.get<readonly string[]>('/v1/log').then((lines) => lines.join('\n'), reasonOf)
  const metrics = await daemon.get<string>('/metrics').catch(reasonOf)
  return [...sections, { title: 'metrics', text: metrics }, { title: 'log of the daemon', text: log }]
}

function network({ environment, tunnel }: Config): Promise<readonly Section[]> {
  const { table } = networkNames(environment)
  return outputs([
    ['ip', '-d', 'address'],
    ['ip', '-4', 'route', 'show', 'table', 'all'],
    ['ip', 'rule'],
    ['ip', '-s', 'link', 'show', 'dev', tunnel.interface],
    ['nft', 'list', 'table', 'inet', table],
    ['iptables', '-w', '-S', 'FORWARD'],
    ['iptables', '-w', '-S', 'DOCKER-USER'],
    ['cat', '/proc/net/xfrm_stat'],
  ])
}

async function logs({ state, environment, tunnel }: Config): Promise<readonly Section[]> {
  const units =
    environment === 'default'
      ? ['drover', 'drover-tunnel', 'drover-ipsec']
      : [`drover@${environment}`, `drover-tunnel@${tunnel.interface}`, `drover-ipsec@${environment}`]
  const journal = [
    'journalctl',
    '--no-pager',
    '-o',
    'short-iso',
    '-n',
    journalLines,
    ...units.flatMap((unit) => ['-u', unit]),
  ]
  const files = { 'the tunnel': 'tunnel.log', charon: 'ipsec/charon.log', 'the start of charon': 'ipsec.log' }
  const kept = Object.entries(files).map(([what, file]) => ({
    title: `log of ${what}`,
    text: textOf(join(state, file)).split('\n').slice(-fileLines).join('\n'),
  }))
  return [...kept, ...(await outputs([journal]))]
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Every secret that this host holds, in each of the forms in which it could be in a text. */
function secretsOf({ state, store, ca }: Config): readonly string[] {
  const files = ['identity.json', 'authority.json', 'membership.json'].flatMap((name) =>
    textsIn(jsonOf(textOf(join(state, name)))),
  )
  const keys = files.flatMap((secret) => {
    const raw = Buffer.from(secret, 'base64')
    return raw.length === 32 ? [secret, raw.toString('hex'), raw.toString('base64url')] : []
  })
  const passwords = passwordsIn(jsonOf(textOf(join(state, 'membership.json'))))
  return [...keys, ...passwords, store.password ?? '', ca.passphrase ?? '']
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Every string in a value. */
function textsIn(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : []
}

function passwordsIn(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) =>
    name === 'password' && typeof inner === 'string' ? [inner] : passwordsIn(inner),
  )
}
