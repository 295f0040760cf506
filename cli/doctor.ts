/**
 * `drover doctor` and `drover report`: they work without a daemon, too.
 */
import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { DroverError, reasonOf } from '../model/errors.ts'
import type { DoctorView } from '../status/doctor.ts'
import { AdminClient } from './client.ts'
import { type Context, configured, sourcesOf } from './configured.ts'
import { print, printJson } from './print.ts'

const connect = (socket: string): AdminClient => new AdminClient(socket)

export function doctorCommand(context: Context): Command {
  const command = configured('doctor', 'what is wrong on this host, and what to do', context).option(
    '--json',
    'as JSON',
  )
  return command.action(async ({ json }: { json?: boolean }) => {
    const { runDoctor } = await import('../daemon/diagnosis/doctor.ts')
    const view = await runDoctor(sourcesOf(command, context), connect)
    if (json) printJson(view)
    else print(doctorText(view))
    context.code = view.daemon ? (view.findings.length === 0 ? 0 : 1) : 2
  })
}

/** Grouped by part, a line for each finding. */
export function doctorText({ findings }: Pick<DoctorView, 'findings'>): string {
  if (findings.length === 0) return 'nothing found'
  const groups = Map.groupBy(findings, ({ where }) => where)
  return [...groups]
    .map(([where, some]) => {
      const lines = some.map(({ severity, what, remedy }) => `  ${severity.padEnd(7)}  ${what}; ${remedy}`)
      return [where, ...lines].join('\n')
    })
    .join('\n')
}

function writeReport(file: string, text: string): void {
  try {
    writeFileSync(file, text, { mode: 0o600 })
  } catch (cause) {
    throw new DroverError('USAGE', `the report cannot be written: ${reasonOf(cause)}`, { cause })
  }
}

export function reportCommand(context: Context): Command {
  const command = configured('report', 'what a bug report needs, without secrets, as one text', context)
  command.argument('[file]', 'where to write it; standard output without')
  return command.action(async (file: string | undefined) => {
    const { runReport } = await import('../daemon/diagnosis/report.ts')
    const text = await runReport(sourcesOf(command, context), connect)
    if (file === undefined) return print(text)
    writeReport(file, text)
    print(`${file}: names and addresses are in it, secrets are not; read it before you publish it`)
  })
}
