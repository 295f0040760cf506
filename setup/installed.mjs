/**
 * Whether node_modules is what package-lock.json asks for. A stamp with the lock's digest answers at once;
 * without it npm's own hidden lockfile is compared, so that somebody's own `npm ci` counts as well.
 * A half install has neither. Changes nothing but the stamp.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** @param {string} root */
const stampFile = (root) => join(root, 'node_modules', '.drover-installed')

/** @param {string} root */
export function lockDigest(root) {
  const lock = readFileSync(join(root, 'package-lock.json'))
  return createHash('sha256').update(`${process.platform} ${process.arch}\n`).update(lock).digest('hex')
}

/** @param {string} path */
function readText(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/**
 * Folder → version of every package that a lockfile names; undefined for what cannot be read.
 * @param {string} file
 * @returns {Map<string, {version?: string, integrity?: string, optional?: boolean}> | undefined}
 */
function packagesOf(file) {
  const text = readText(file)
  if (text === undefined) return undefined
  try {
    return new Map(Object.entries(JSON.parse(text).packages ?? {}).filter(([folder]) => folder !== ''))
  } catch {
    return undefined
  }
}

/** @param {string} root */
function matchesHiddenLock(root) {
  const wanted = packagesOf(join(root, 'package-lock.json'))
  const there = packagesOf(join(root, 'node_modules', '.package-lock.json'))
  if (wanted === undefined || there === undefined) return false
  for (const folder of there.keys()) {
    if (!wanted.has(folder)) return false
  }
  for (const [folder, { version, integrity, optional }] of wanted) {
    const found = there.get(folder)
    if (found === undefined && optional === true) continue
    if (found?.version !== version || found?.integrity !== integrity) return false
    if (!existsSync(join(root, folder, 'package.json'))) return false
  }
  return true
}

/** @param {string} root */
export function isInstalled(root) {
  if (!existsSync(join(root, 'node_modules', '.package-lock.json'))) return false
  if (readText(stampFile(root)) === lockDigest(root)) return true
  if (!matchesHiddenLock(root)) return false
  markInstalled(root)
  return true
}

/**
 * Only saves time: a clone that root installed can be used by others.
 * @param {string} root
 */
export function markInstalled(root) {
  try {
    writeFileSync(stampFile(root), lockDigest(root))
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS'].includes(error.code)) throw error
  }
}

/**
 * Other processes that run on the locked Node of this clone: npm must not replace it under them.
 * @param {string} root
 * @returns {{pid: number, command: string}[]}
 */
export function processesOn(root) {
  const modules = `${join(root, 'node_modules')}/`
  const own = new Set(ancestry(process.pid))
  const found = []
  for (const entry of existsSync('/proc') ? readdirSync('/proc') : []) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || own.has(pid)) continue
    try {
      if (!readlinkSync(`/proc/${entry}/exe`).startsWith(modules)) continue
      const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0').slice(0, 4).join(' ').trim()
      found.push({ pid, command })
    } catch {
      // Gone meanwhile, or another user's.
    }
  }
  return found
}

/** @param {number} pid */
function ancestry(pid) {
  const pids = []
  for (let at = pid; at > 1; ) {
    pids.push(at)
    const stat = readText(`/proc/${at}/stat`) ?? ''
    at = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? 0)
  }
  return pids
}
