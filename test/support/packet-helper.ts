/**
 * The helper of tunnel/native, built for this test run alone; undefined, with a reason for tap's `skip`, where there
 * is no C compiler.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadPacketHelper, type PacketHelper } from '../../linux/ffi.ts'

const source = join(import.meta.dirname, '../../tunnel/native/packets.c')

function built(): PacketHelper | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'drover-helper-'))
  try {
    const target = join(folder, 'packets.so')
    execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-o', target, source])
    return loadPacketHelper(target)
  } catch {
    return undefined
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export const packetHelper = built()
export const needsHelper: { skip?: string } = packetHelper === undefined ? { skip: 'needs a C compiler' } : {}
