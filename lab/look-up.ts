/** One question to the DNS of a host of the lab, as a container asks it. */
import type { LabHost } from './host.ts'

/** The IPv4 addresses of a name; none when there is no answer within a second. */
export async function lookUp(host: LabHost, name: string): Promise<readonly string[]> {
  const { stdout } = await host.exec(['dig', '+short', '+time=1', '+tries=1', '@169.254.169.250', name, 'A'])
  return stdout.split('\n').filter((line) => /^\d/.test(line))
}
