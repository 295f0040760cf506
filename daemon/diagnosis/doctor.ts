/**
 * `drover doctor`: what the running daemon finds and what the machine shows, as one list. Works without a daemon and
 * without a configuration that can be used; then it says so and looks at what is left.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { Proc } from '../../linux/proc.ts'
import { SystemRunner } from '../../linux/run.ts'
import { DroverError, reasonOf } from '../../model/errors.ts'
import { missingPrograms } from '../../status/checks/machine.ts'
import { type DoctorView, machineChecks, sorted } from '../../status/doctor.ts'
import { errorIn, type Finding, findingsOf, warningIn } from '../../status/finding.ts'
import type { ConfigSources } from '../config/load.ts'
import { configOf } from '../config/machine-config.ts'
import type { Config } from '../config/resolve.ts'
import { silentLog } from '../log.ts'
import { PrometheusMeter } from '../meter.ts'
import { type System, systemOf } from '../system.ts'
import { version } from '../version.ts'
import { machineFactsOf, missingOn } from './machine-facts.ts'

/** The running daemon, as the CLI reaches it. */
export interface AdminReader {
  get<T>(path: string): Promise<T>
}

export type Connect = (socket: string) => AdminReader

const moment = (): Promise<unknown> => pause(1000)

export async function runDoctor(sources: ConfigSources, connect: Connect): Promise<DoctorView> {
  if (process.getuid?.() !== 0) throw new DroverError('NOT_ROOT', 'drover doctor')
  const [proc, runner] = [new Proc(), new SystemRunner({}, {})]
  const usable = configured(sources)
  if (usable.is === 'bad') {
    const findings = [...findingsOf([missingPrograms], { missing: missingOn(proc) }), usable.finding]
    return { version, host: '', environment: '', daemon: false, findings: sorted(findings) }
  }
  const { config, system } = usable
  const said = await ask(connect(config.admin))
  const facts = await machineFactsOf({ config, system, proc, runner, daemon: said.answered, moment })
  const findings = sorted([...said.findings, ...findingsOf(machineChecks, facts)])
  const { environment, host } = config
  return { version, host: host.name, environment, daemon: said.answered, findings }
}

type Usable =
  | { readonly is: 'good'; readonly config: Config; readonly system: System }
  | { readonly is: 'bad'; readonly finding: Finding }

function configured(sources: ConfigSources): Usable {
  try {
    const config = configOf(sources)
    const system = systemOf({ log: silentLog, meter: new PrometheusMeter() }, config, process.env)
    return { is: 'good', config, system }
  } catch (error) {
    if (!(error instanceof DroverError)) throw error
    return { is: 'bad', finding: errorIn('configuration', error.message, error.remedy) }
  }
}

interface Said {
  readonly answered: boolean
  readonly findings: readonly Finding[]
}

async function ask(daemon: AdminReader): Promise<Said> {
  try {
    const { findings } = await daemon.get<Pick<Said, 'findings'>>('/v1/doctor')
    return { answered: true, findings }
  } catch (error) {
    if (!(error instanceof DroverError)) throw error
    const { code, message, remedy } = error
    if (code === 'DAEMON_UNREACHABLE')
      return { answered: false, findings: [errorIn('daemon', message, remedy)] }
    return { answered: true, findings: [warningIn('daemon', reasonOf(error), remedy)] }
  }
}
