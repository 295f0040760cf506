/**
 * The configuration of this machine: what its operator wrote, and the rest derived. Apart from the daemon, so that a
 * command that only asks it something loads none of it.
 */
import { machineFacts } from '../machine.ts'
import { type ConfigSources, loadConfig } from './load.ts'
import { type Config, resolveConfig } from './resolve.ts'

export const configOf = (sources: ConfigSources): Config => resolveConfig(loadConfig(sources), machineFacts())
