/**
 * Leaves nothing of a lab behind, also after a crash: found by the names of its namespaces, by the ids of its
 * containers and by its folders, never by the name of a program. Safe to call when there is nothing.
 */
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { isAlive, run, until } from './command.ts'
import { isNamespaceOf, type LabPlace, root } from './layout.ts'

export async function sweep(lab: LabPlace): Promise<void> {
  const namespaces = (await namespacesOfMachine()).filter((name) => isNamespaceOf(lab.name, name))
  const containers = containerIds(lab)
  const pids = (await Promise.all(namespaces.map(pidsIn))).flat()
  killAll([...pids, ...pidsOfContainers(containers)])
  const left = await until('the end of the lab', () => {
    const alive = [...pids, ...pidsOfContainers(containers)].filter(isAlive)
    killAll(alive)
    return alive.length === 0 ? true : undefined
  })
  if (left) for (const mount of mountsUnder([lab.folder, lab.run])) await run(['umount', '-l', mount])
  for (const id of containers) removeControlGroups(id)
  for (const folder of [lab.folder, lab.run]) rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  for (const name of namespaces) await run(['ip', 'netns', 'del', name])
  const shared = join(root, 'lab', 'run', 'lab.json')
  if (existsSync(shared) && recordIsOf(shared, lab)) rmSync(shared)
}

const recordIsOf = (file: string, lab: LabPlace): boolean =>
  readFileSync(file, 'utf8').includes(`"lab": "${lab.name}"`)

/** Labs of this clone that tests made and could not end, because they were killed: `testLabName` has their pid. */
export function abandonedLabs(): readonly string[] {
  return listing(join(root, 'lab', 'run')).filter((name) => {
    const pid = /^dt-[a-z]+-([0-9a-z]+)$/.exec(name)?.[1]
    return pid !== undefined && !isAlive(Number.parseInt(pid, 36))
  })
}

async function namespacesOfMachine(): Promise<readonly string[]> {
  const { stdout } = await run(['ip', 'netns', 'list'])
  return stdout.split('\n').flatMap((line) => line.split(' ')[0] || [])
}

async function pidsIn(namespace: string): Promise<readonly number[]> {
  const { stdout } = await run(['ip', 'netns', 'pids', namespace])
  return stdout.split('\n').flatMap((line) => (line === '' ? [] : Number(line)))
}

function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      if (pid !== process.pid) process.kill(pid, 'SIGKILL')
    } catch {
      // Gone meanwhile.
    }
  }
}

function listing(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

const containerIds = (lab: LabPlace): readonly string[] =>
  listing(lab.folder).flatMap((host) => listing(join(lab.folder, host, 'docker', 'containers')))

/** Containers have namespaces of their own; their control groups carry their ids. */
function pidsOfContainers(ids: readonly string[]): readonly number[] {
  if (ids.length === 0) return []
  const known = new Set(ids)
  return listing('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return []
    try {
      const groups = readFileSync(`/proc/${entry}/cgroup`, 'utf8').split('\n')
      return groups.some((line) => known.has(idOf(line))) ? Number(entry) : []
    } catch {
      return []
    }
  })
}

/** `…/docker/<id>` with cgroupfs, `…/docker-<id>.scope` with systemd. */
const idOf = (line: string): string =>
  basename(line)
    .replace(/^docker-/, '')
    .replace(/\.scope$/, '')

function removeControlGroups(id: string): void {
  const mount = '/sys/fs/cgroup'
  for (const path of [
    join(mount, 'docker', id),
    ...listing(mount).map((name) => join(mount, name, 'docker', id)),
  ]) {
    try {
      if (existsSync(path)) rmdirSync(path)
    } catch {
      // Another controller's link, or not empty yet: the kernel frees it with its last process.
    }
  }
}

function mountsUnder(folders: readonly string[]): readonly string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => folders.some((folder) => path.startsWith(`${folder}/`)))
    .reverse()
}
