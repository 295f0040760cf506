/** What the command line says to somebody who mistypes: one line that ends in what to do, and exit code 2. */
import { type Test, test } from 'tap'
import { main } from '../../cli/program.ts'

async function complaint(t: Test, ...argv: readonly string[]): Promise<string> {
  const written = t.capture(process.stderr, 'write')
  try {
    t.equal(await main(argv), 2, argv.join(' '))
  } finally {
    written.restore()
  }
  return written()
    .map(({ args }) => String(args[0]))
    .join('')
}

test('a mistyped command line', async (t) => {
  for (const [argv, said] of [
    [['services'], "unknown command 'services', did you mean service?"],
    [['ps', '--jsn'], "unknown option '--jsn', did you mean --json?"],
    [['join'], "missing required argument 'token'"],
    [['status', 'all'], "too many arguments for 'status'. Expected 0 arguments but got 1"],
  ] as const)
    t.equal(await complaint(t, ...argv), `drover: ${said}; see \`drover --help\`\n`)
})

test('a bad value', async (t) => {
  const line = await complaint(t, 'status', '--config', '/dev/null', '--tunnel-port', '99999')
  t.match(line, /^drover: the configuration is not valid: --tunnel-port: .* must be 1–65535; mend .*\n$/)
})

test('a report that cannot be written', async (t) => {
  const line = await complaint(t, 'report', '/nowhere/report.txt', '--config', '/dev/null')
  t.match(line, /^drover: .*: the report cannot be written: ENOENT.*\/nowhere\/report\.txt'; see .*\n$/)
})
