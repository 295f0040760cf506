/**
 * A host with a real metadata thread at its real place, 169.254.169.250:80, in a network namespace that this process
 * moves into: every address of 10.42.0.0/16 is local there, so that anything can ask or answer as a container. Needs
 * root, and a test file of its own.
 */
import { execFileSync } from 'node:child_process'
import type { Test } from 'tap'
import { type Metadata, startMetadata } from '../../metadata/thread.ts'
import type { Environment } from '../../model/environment.ts'
import { show, usual } from './metadata.ts'
import { enterOwnNetns } from './own-netns.ts'
import { MemoryLog, MemoryMeter } from './ports.ts'

export const metadataUrl = 'http://169.254.169.250'

/** Moves this process; what it opens and starts from then on lies there. */
export function becomeHost(): void {
  enterOwnNetns()
  for (const line of [
    'link set dev lo up',
    'addr add 169.254.169.250/32 dev lo',
    'route add local 10.42.0.0/16 dev lo',
  ]) {
    execFileSync('ip', line.split(' '))
  }
}

export async function metadataHost(t: Test, environment: Environment): Promise<Metadata> {
  const ports = { log: new MemoryLog(), meter: new MemoryMeter() }
  const metadata = await startMetadata(ports, { ...usual, address: '169.254.169.250', port: 80 })
  t.teardown(() => metadata.close())
  await show(metadata, environment)
  return metadata
}
