// Builds the helper for this machine; says what it made. See README.md.
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

const here = import.meta.dirname
const folder = join(here, 'run')
const target = join(folder, `packets-${process.arch}.so`)
const flags = ['-O3', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-fstack-protector-strong']
mkdirSync(folder, { recursive: true })
execFileSync(process.env.CC || 'cc', [...flags, '-o', target, join(here, 'packets.c')], { stdio: 'inherit' })
process.stdout.write(`${target}\n`)
