/**
 * `lab.json`: where everything of a running lab is. People, tests and other tools read it; it only grows.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { DroverError } from '../model/errors.ts'
import { type LabPlace, placeOf } from './layout.ts'

export const storeKinds = ['embedded', 'etcd', 'etcd3'] as const
export type StoreKind = (typeof storeKinds)[number]

export const backends = ['auto', 'ipsec', 'wireguard'] as const
export type BackendChoice = (typeof backends)[number]

export interface HostEntry {
  readonly name: string
  readonly namespace: string
  /** DOCKER_HOST of its engine. */
  readonly docker: string
  readonly underlay: string
  /** Its address in the environment; null while it has none. */
  managed: string | null
  readonly config: string
  readonly admin: string
  readonly uapi: string
  readonly pids: {
    dockerd: number
    daemon: number
    tunnel: number | null
    charon: number | null
  }
}

export interface LabRecord {
  readonly lab: string
  readonly environment: string
  readonly store: {
    readonly kind: StoreKind
    readonly endpoints: readonly string[]
    readonly namespace: string | null
    readonly tls: null
    readonly pids: number[]
  }
  readonly hosts: HostEntry[]
  readonly image: string
  readonly bridge: string
}

export function writeRecord(place: LabPlace, record: LabRecord): void {
  const text = `${JSON.stringify(record, null, 2)}\n`
  mkdirSync(place.folder, { recursive: true })
  writeFileSync(place.record, text)
  // The lab that people have is found without knowing its name.
  if (place.name === defaultLab) writeFileSync(`${dirname(place.folder)}/lab.json`, text)
}

export const defaultLab = 'drover'

export function readRecord(name: string): LabRecord {
  const file = placeOf(name).record
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as LabRecord
  } catch (cause) {
    throw new DroverError('USAGE', `there is no lab (${file}): start one with \`npm run lab -- up\``, {
      cause,
    })
  }
}
