#!/usr/bin/env node
/**
 * The executable `drover`. Compiled code is kept beside the packages, which halves the time to start and the
 * memory of every thread; then the one part that is needed is loaded.
 */
import './compile-cache.ts'
import type { EarlyDns } from '../daemon/early-dns.ts'

const [command, ...rest] = process.argv.slice(2)

async function run(): Promise<number> {
  if (command === 'tunnel' && !rest.includes('--help')) {
    const { tunnelMain } = await import('../tunnel/userspace/main.ts')
    return tunnelMain(rest, process.env)
  }
  const early = command === 'daemon' ? await startEarly() : undefined
  const { main } = await import('./program.ts')
  return main(process.argv.slice(2), early).finally(() => early?.end())
}

/** Loads beside all that follows. */
async function startEarly(): Promise<EarlyDns | undefined> {
  const { earlyDns } = await import('../daemon/early-dns.ts')
  return earlyDns(process.env)
}

process.exitCode = await run()
