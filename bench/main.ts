/**
 * `npm run bench -- control | tunnel`: measurements on a lab or in namespaces of their own, side by side in tables.
 */
import { parseArgs } from 'node:util'
import { DroverError, reasonOf } from '../model/errors.ts'
import { benchControl } from './control.ts'
import { benchTunnel, tunnelUsage } from './tunnel.ts'

const usage = `npm run bench -- control [--containers 100], or ${tunnelUsage}`

async function main(args: readonly string[]): Promise<void> {
  if (args[0] === 'tunnel') return benchTunnel(args.slice(1))
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { containers: { type: 'string', default: '100' } },
  })
  const containers = Number(values.containers)
  if (positionals[0] !== 'control' || !Number.isInteger(containers) || containers < 1)
    throw new DroverError('USAGE', usage)
  await benchControl(containers)
}

await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`drover bench: ${reasonOf(error)}\n`)
  process.exitCode = 2
})
