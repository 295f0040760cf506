/**
 * What the admin API offers of declared services: `drover service set | rm | ls`.
 */
import type { Environment } from '../../model/environment.ts'
import { DroverError } from '../../model/errors.ts'
import { type DeclaredService, decodeRecord, serviceSchema } from '../../model/records.ts'
import type { Control } from '../control.ts'
import type { DeclaredView } from './declarations.ts'

type Wish = Readonly<Record<string, unknown>>
type Present = () => Pick<Control, 'declarations'>

export const serviceCommands = (control: Present) => ({
  'services/set': ({ services }: Wish) => control().declarations.declare(listOf(services).map(serviceFrom)),
  'services/remove': ({ names }: Wish) => control().declarations.withdraw(listOf(names).map(String)),
})

export const servicesView = (control: Present, environment: Environment): readonly DeclaredView[] =>
  control().declarations.view(environment)

function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw new DroverError('USAGE', 'a list is needed')
}

function serviceFrom(value: unknown): DeclaredService {
  const decoded = decodeRecord(serviceSchema, JSON.stringify(value) ?? '')
  if (decoded.is === 'bad') throw new DroverError('SERVICE_INVALID', decoded.why)
  return decoded.value
}
