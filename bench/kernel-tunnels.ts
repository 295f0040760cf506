/**
 * What the kernel's encryption carries, side by side in the lab's virtual machine: our IPsec backend, ESP set up by
 * hand with an XFRM interface and without, WireGuard. In time that counts instructions, so only the ratios of the kinds
 * of ESP, which encrypt alike, say something of real machines.
 */
import { parseArgs } from 'node:util'
import { Vm } from '../lab/vm/machine.ts'
import { DroverError } from '../model/errors.ts'
import type { Inside } from './kernel-tunnels-inside.ts'
import { ourEsp, rawEsp, rawLinkEsp } from './peers/kernel.ts'
import { type Figures, mediansOf, origin, type Target, targetTable, written } from './report.ts'
import { keep, markdown } from './table.ts'

export const kernelTunnelsUsage = 'npm run bench -- kernel-tunnels [--mebibytes 16] [--rounds 2]'

/** Seconds of this machine, which may be busy, for all of it: what is measured takes most of them to set up. */
const patience = 1200

export async function benchKernelTunnels(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { mebibytes: { type: 'string', default: '16' }, rounds: { type: 'string', default: '2' } },
  })
  const [mebibytes, rounds] = [Number(values.mebibytes), Number(values.rounds)]
  if (!(mebibytes >= 1 && rounds >= 1)) throw new DroverError('USAGE', kernelTunnelsUsage)
  const vm = await Vm.boot({ counted: true, seconds: patience })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => void vm.end().finally(() => process.exit(130)))
  try {
    const { code, stdout, stderr } = await vm.run(
      `node bench/kernel-tunnels-inside.ts ${mebibytes} ${rounds}`,
    )
    process.stdout.write(stderr)
    if (code !== 0)
      throw new DroverError('COMMAND_FAILED', `the measurement in the virtual machine: ${stdout}`)
    const text = await report(JSON.parse(stdout) as Inside, { mebibytes, rounds })
    process.stdout.write(`\n${text}\nkept in ${keep('kernel-tunnels', text)}\n`)
  } finally {
    await vm.end()
  }
}

async function report(
  { machine, measured }: Inside,
  { mebibytes, rounds }: { readonly mebibytes: number; readonly rounds: number },
): Promise<string> {
  const medians = measured.map(([name, values]) => [name, mediansOf(values)] as const)
  const of = (name: string): Figures => {
    const found = medians.find(([one]) => one === name)
    if (found === undefined) throw new DroverError('COMMAND_FAILED', `no figures of ${name}: see above`)
    return found[1]
  }
  const ours = of(ourEsp.name)
  const figures = Object.keys(ours)
  const head = ['', ...medians.map(([name]) => name)]
  const table = (cell: (all: Figures, figure: string) => number): string =>
    markdown(
      head,
      figures.map((figure) => [figure, ...medians.map(([, all]) => written(cell(all, figure)))]),
    )
  const ratio = (all: Figures, figure: string): number => (ours[figure] ?? Number.NaN) / (all[figure] ?? 0)
  const targets = [rawLinkEsp, rawEsp].flatMap(({ name }) =>
    figures.map(
      (figure): Target => ({
        what: `${figure.replace(', Gb/s', '')}: ${ourEsp.name} / ${name}`,
        figure: ratio(of(name), figure),
        bound: 0.9,
        most: false,
      }),
    ),
  )
  return [
    '# Tunnels of the kernel, in a virtual machine',
    `${await origin()}; in it, by QEMU without acceleration, a nanosecond being an instruction: ${machine}. ${rounds} rounds in turn, ${mebibytes} MiB each; medians.`,
    table((all, figure) => all[figure] ?? Number.NaN),
    `${ourEsp.name} divided by each:`,
    table(ratio),
    targetTable(targets),
    '',
  ].join('\n\n')
}
