#!/usr/bin/env node
/**
 * The executable `drover`. Compiled code is kept beside the packages, which halves the time to start and the
 * memory of every thread; then the one part that is needed is loaded.
 */
import './compile-cache.ts'

const [command, ...rest] = process.argv.slice(2)

async function run(): Promise<number> {
  if (command === 'tunnel' && !rest.includes('--help')) {
    const { tunnelMain } = await import('../tunnel/userspace/main.ts')
    return tunnelMain(rest, process.env)
  }
  const { main } = await import('./program.ts')
  return main(process.argv.slice(2))
}

process.exitCode = await run()
