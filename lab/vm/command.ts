/**
 * `npm run lab -- vm [--systemd] [--seconds N] [-- COMMAND…]`: a shell, or one command, in a virtual machine over
 * the files of this one. The exit code is the command's.
 */
import { parseArgs } from 'node:util'
import { Vm } from './machine.ts'

export const vmUsage = `npm run lab -- vm [--systemd] [--seconds N] [-- COMMAND…]
                                         a shell or a command on Debian's kernel in QEMU; nothing it writes stays`

const day = 86_400

export async function vmCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { systemd: { type: 'boolean' }, seconds: { type: 'string' } },
  })
  const interactive = process.stdin.isTTY && process.stdout.isTTY
  const seconds = Number(values.seconds ?? (interactive ? day : 600))
  const vm = await Vm.boot({ systemd: values.systemd ?? false, terminal: true, seconds })
  const stop = (): void => void vm.end()
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.once(signal, stop)
  try {
    const { code } = await vm.run(onTerminal(positionals.length > 0 ? positionals : ['bash'], interactive))
    return code
  } finally {
    await vm.end()
  }
}

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`

/** A script that gives a command the machine's terminal, which is ours; without one, clean output and no input. */
function onTerminal(argv: readonly string[], interactive: boolean): string {
  const command = argv.map(quoted).join(' ')
  // The terminal forgets its settings when nobody has it open.
  const open = 'exec 4<>/dev/hvc0'
  if (!interactive) return `${open}\nstty -F /dev/hvc0 raw -echo\n${command} </dev/null >&4 2>&1 4>&-`
  const { columns, rows } = process.stdout
  return [
    open,
    `stty -F /dev/hvc0 rows ${rows} cols ${columns}`,
    `export TERM=${quoted(process.env.TERM ?? 'linux')}`,
    `setsid --ctty --wait ${command} <&4 >&4 2>&1 4>&-`,
  ].join('\n')
}
