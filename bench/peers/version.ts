/**
 * The version of an installed Debian package; rejects where it is not installed.
 */
import { run } from '../../lab/command.ts'

export async function versionOf(name: string): Promise<string> {
  const { stdout, code } = await run(['dpkg-query', '--show', name])
  const version = stdout.trim().split('\t')[1]
  if (code !== 0 || version === undefined) throw new Error(`${name} is not installed`)
  return version.replace(/^\d+:/, '').replace(/[+-].*$/, '')
}
