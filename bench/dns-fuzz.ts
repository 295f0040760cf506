/**
 * `npm run bench -- dns-fuzz`: hostile messages to a real resolver on loopback, over UDP and TCP, with a good question
 * after each batch. Exit code 1 when the resolver crashed, gave a larger answer than was asked for, or kept a good
 * question waiting for longer than 10 ms beyond what it does when all questions are good: for a quiet machine, since whatever
 * else runs keeps questions waiting too.
 */
import { parseArgs } from 'node:util'
import { DroverError } from '../model/errors.ts'
import { type Fuzzed, fuzz } from './dns/fuzz.ts'
import { keep, machine, markdown, percentile } from './table.ts'

export const dnsFuzzUsage = 'npm run bench -- dns-fuzz [--messages 1000000] [--seed 1]'

const stall = 10 // ms

export async function benchDnsFuzz(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { messages: { type: 'string', default: '1000000' }, seed: { type: 'string', default: '1' } },
  })
  const [messages, seed] = [Number(values.messages), Number(values.seed)]
  if (!(messages >= 1000 && seed >= 1)) throw new DroverError('USAGE', dnsFuzzUsage)
  const found = await fuzz({ messages, seed })
  const text = report(found, messages, seed)
  process.stdout.write(`\n${text}\nkept in ${keep('dns-fuzz', text)}\n`)
  const stalled = found.hostile.some(
    ({ waits }, at) => Math.max(...waits) > stall + Math.max(...(found.good[at]?.waits ?? [])),
  )
  if (found.crashes > 0 || found.tooLarge.length > 0 || stalled) process.exitCode = 1
}

function report(
  { good, hostile, crashes, tooLarge, seconds }: Fuzzed,
  messages: number,
  seed: number,
): string {
  const head = ['over', 'messages', 'sent', 'answered', 'p50, ms', 'p99, ms', 'p99.9, ms', 'longest, ms']
  const ms = (value: number): string => value.toFixed(2)
  const rows = [...good, ...hostile].map(({ over, what, sent, answered, waits }) => [
    over,
    what,
    String(sent),
    String(answered),
    ...[0.5, 0.99, 0.999].map((share) => ms(percentile(waits, share))),
    ms(Math.max(...waits)),
  ])
  return [
    `# dns-fuzz\n\n${machine()}; ${messages} messages of seed ${seed} in ${seconds.toFixed(0)} s.`,
    markdown(head, rows),
    'Waits are those of a good question over UDP after each batch, on a machine that had other work as well.',
    `Crashes: ${crashes}. Answers larger than asked for: ${tooLarge.length}${tooLarge.slice(0, 3).map((one) => `\n${one}`)}.\n`,
  ].join('\n\n')
}
