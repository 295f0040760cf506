/**
 * Facts about the machine that only it can tell: its name, its address, its size, its uuid.
 */
import { readFileSync, statfsSync } from 'node:fs'
import { cpus, hostname, networkInterfaces, totalmem } from 'node:os'
import type { MachineFacts } from './config/resolve.ts'

export function machineFacts(): MachineFacts {
  return { hostname: hostname().split('.')[0] ?? 'host', address: routedAddress() ?? anyAddress() }
}

/** Identifies this run of the kernel. */
export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()

export function machineSize(): { readonly memory: number; readonly milliCpu: number; readonly disk: number } {
  const disk = statfsSync('/')
  return {
    memory: Math.floor(totalmem() / 2 ** 20),
    milliCpu: cpus().length * 1000,
    disk: Math.floor((disk.bavail * disk.bsize) / 2 ** 20),
  }
}

/** IPv4 address of the interface that holds the default route in /proc/net/route. */
function routedAddress(): string | undefined {
  const routes = readFileSync('/proc/net/route', 'latin1').split('\n').slice(1)
  const name = routes
    .map((line) => line.split('\t'))
    .find(([, destination]) => destination === '00000000')?.[0]
  return name === undefined ? undefined : firstAddress(name)
}

function anyAddress(): string | undefined {
  const usable = Object.keys(networkInterfaces()).filter(
    (name) => !/^(lo|docker|br-|veth|drover|drv|dr)/.test(name),
  )
  return usable.map(firstAddress).find((address) => address !== undefined)
}

/** Whether an interface of this network namespace has the IPv4 address. */
export const holdsAddress = (address: string): boolean =>
  Object.values(networkInterfaces()).some((all) => all?.some((one) => one.address === address))

function firstAddress(name: string): string | undefined {
  return networkInterfaces()[name]?.find(({ family, internal }) => family === 'IPv4' && !internal)?.address
}
