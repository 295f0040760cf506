/**
 * What tests in the lab's virtual machine share: when to skip, and a machine that is gone after the test.
 */
import type { Test } from 'tap'
import { kernel } from '../../lab/vm/kernel.ts'
import { Vm, type VmOptions } from '../../lab/vm/machine.ts'
import { reasonOf } from '../../model/errors.ts'
import { missingPackages, vmPackages } from '../../setup/packages.mjs'

/** The same for what takes too long to be run with everything else: only when it is named, or all is wanted. */
export const vmNeedsNightly = (): ReturnType<typeof vmNeeds> =>
  process.env.DROVER_NIGHTLY === '1'
    ? vmNeeds()
    : Promise.resolve({ skip: 'takes minutes: DROVER_NIGHTLY=1, or name the file' })

/** Why no virtual machine can be booted here, as tap's option; empty where it can. Downloads the kernel. */
export async function vmNeeds(): Promise<{ skip?: string }> {
  if (process.env.DROVER_SKIP_VM === '1') return { skip: 'DROVER_SKIP_VM=1' }
  if (process.getuid?.() !== 0) return { skip: 'needs root: the virtual machine uses all files of this one' }
  const missing = missingPackages(vmPackages)
  if (missing.length > 0) return { skip: `needs ${missing.join(', ')}` }
  return kernel().then(
    () => ({}),
    (error: unknown) => ({ skip: `no kernel for the virtual machine: ${reasonOf(error)}` }),
  )
}

/** A machine that ends with the test, whatever happens. */
export async function vmFor(t: Test, options: VmOptions): Promise<Vm> {
  const vm = await Vm.boot(options)
  t.teardown(() => vm.end())
  return vm
}
