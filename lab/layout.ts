/**
 * Where everything of a lab is: names of namespaces, addresses on the underlay, folders and sockets. Pure.
 * Sockets live under /run, because a unix socket's path has at most 107 bytes and a clone may lie deep.
 */
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The clone that this file belongs to. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** The Node that the lockfile brought. */
export const node = join(root, 'node_modules', '.bin', 'node')

export const image = 'drover/busybox:lab'

export interface HostPlace {
  readonly name: string
  readonly namespace: string
  readonly underlay: string
  /** Data on disk; gone after `down`. */
  readonly folder: string
  /** Sockets. */
  readonly run: string
  readonly dockerSocket: string
  readonly config: string
  readonly state: string
  readonly admin: string
  readonly uapi: string
}

export interface LabPlace {
  readonly name: string
  readonly folder: string
  readonly run: string
  readonly bridge: string
  readonly store: string
  readonly record: string
  host(number: number): HostPlace
}

/** Interface names and namespaces are built from it. */
export const labName = /^[a-z][a-z0-9-]{0,15}$/

export const underlayBits = 24

/** Of member 1, 2 or 3. */
export const storeAddress = (member: number): string => `192.168.77.${250 + member}`

export function placeOf(name: string): LabPlace {
  const folder = join(root, 'lab', 'run', name)
  const run = `/run/drover-lab/${name}`
  const host = (number: number): HostPlace => {
    const own = { name: `h${number}`, folder: join(folder, `h${number}`), run: `${run}/h${number}` }
    return {
      ...own,
      namespace: `${name}-h${number}`,
      underlay: `192.168.77.${number}`,
      dockerSocket: `${own.run}/docker.sock`,
      config: join(own.folder, 'drover.yaml'),
      state: join(own.folder, 'state'),
      admin: `${own.run}/drover.sock`,
      uapi: `${own.run}/wireguard/drover0.sock`,
    }
  }
  const bridge = `${name}-net`
  return { name, folder, run, bridge, store: `${name}-store`, record: join(folder, 'lab.json'), host }
}

/** Whether a namespace belongs to the lab. */
export const isNamespaceOf = (lab: string, namespace: string): boolean =>
  namespace.startsWith(`${lab}-`) && /^(h\d+|net|store)$/.test(namespace.slice(lab.length + 1))
