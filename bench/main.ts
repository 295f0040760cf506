/**
 * `npm run bench -- MEASUREMENT`: measurements on a lab or in namespaces of their own, side by side in tables.
 */
import { DroverError, reasonOf } from '../model/errors.ts'
import { benchControl, controlUsage } from './control.ts'
import { benchDns, dnsUsage } from './dns.ts'
import { benchDnsFuzz, dnsFuzzUsage } from './dns-fuzz.ts'
import { benchDnsScale, dnsScaleUsage } from './dns-scale.ts'
import { benchIpsecLoad, ipsecLoadUsage } from './ipsec-load.ts'
import { benchKernelTunnels, kernelTunnelsUsage } from './kernel-tunnels.ts'
import { benchMetadata, metadataUsage } from './metadata.ts'
import { benchRestart, restartUsage } from './restart.ts'
import { benchSoak, soakUsage } from './soak.ts'
import { benchTunnel, tunnelUsage } from './tunnel.ts'
import { allocationsUsage, benchAllocations } from './tunnel-allocations.ts'
import { benchPath, pathUsage } from './tunnel-path.ts'

const measurements: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  control: benchControl,
  dns: benchDns,
  'ipsec-load': benchIpsecLoad,
  'kernel-tunnels': benchKernelTunnels,
  metadata: benchMetadata,
  'dns-fuzz': benchDnsFuzz,
  'dns-scale': benchDnsScale,
  tunnel: benchTunnel,
  'tunnel-allocations': benchAllocations,
  'tunnel-path': benchPath,
  soak: benchSoak,
  restart: benchRestart,
}
const usage = [
  controlUsage,
  dnsUsage,
  ipsecLoadUsage,
  kernelTunnelsUsage,
  metadataUsage,
  dnsFuzzUsage,
  dnsScaleUsage,
  tunnelUsage,
  allocationsUsage,
  pathUsage,
  soakUsage,
  restartUsage,
].join(', or ')

async function main([name = '', ...args]: readonly string[]): Promise<void> {
  const measurement = Object.hasOwn(measurements, name) ? measurements[name] : undefined
  if (measurement === undefined) throw new DroverError('USAGE', usage)
  await measurement(args)
}

await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`drover bench: ${reasonOf(error)}\n`)
  process.exitCode = 2
})
