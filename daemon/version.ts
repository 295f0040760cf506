/**
 * Which Drover this is and where it lies, out of its package.json: a clone, or an installed package whose code is
 * one folder further down.
 */
import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { dirname, join } from 'node:path'

/** The folder of package.json. */
export const packageFolder = dirname(findPackageJSON(import.meta.url) ?? import.meta.filename)

const manifest = JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8')) as {
  readonly version: string
}

export const version = manifest.version
