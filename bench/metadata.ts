/**
 * `npm run bench -- metadata`: the metadata service beside servers that know one answer, in namespaces of their own:
 * words, listings, changes, memory, long polls, and what its load does to DNS and to the control loop.
 */
import { parseArgs } from 'node:util'
import { DroverError } from '../model/errors.ts'
import { installPackages, metadataBenchPackages, missingPackages } from '../setup/packages.mjs'
import { changes, listings, memory, neighbours, polls, scalars } from './metadata/figures.ts'
import { reportOf } from './metadata/report.ts'
import { type Place, placeIn } from './metadata/scene.ts'
import type { Figures } from './report.ts'
import { inScene } from './scene.ts'
import { keep } from './table.ts'

export const metadataUsage =
  'npm run bench -- metadata [--seconds 3] [--rounds 3] [--only scalars,listings,changes,memory,polls,neighbours]'

const measurements: Readonly<Record<string, (place: Place) => Promise<Figures>>> = {
  scalars,
  listings,
  changes,
  memory,
  polls,
  neighbours,
}

function argumentsOf(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '3' },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string' },
    },
  })
  const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)]
  const names = values.only?.split(',') ?? Object.keys(measurements)
  const unknown = names.some((name) => !Object.hasOwn(measurements, name))
  if (unknown || ![seconds, rounds].every((number) => Number.isInteger(number) && number > 0))
    throw new DroverError('USAGE', metadataUsage)
  return { seconds, rounds, names, complete: values.only === undefined }
}

export async function benchMetadata(args: readonly string[]): Promise<void> {
  const { seconds, rounds, names, complete } = argumentsOf(args)
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  const missing = missingPackages(metadataBenchPackages)
  if (missing.length > 0) installPackages(missing)
  await inScene(async ({ world, folder }) => {
    const place = await placeIn(world, folder, seconds)
    const measured: Figures[] = []
    for (let round = 1; round <= rounds; round++) {
      const figures: Record<string, number> = {}
      for (const name of names) {
        say(`round ${round} of ${rounds}: ${name}`)
        Object.assign(figures, await measurements[name]?.(place))
      }
      measured.push(figures)
    }
    const text = await reportOf(measured, { seconds })
    say(`\n${text}`)
    if (complete) say(`kept in ${keep('metadata', text)}`)
  })
}
