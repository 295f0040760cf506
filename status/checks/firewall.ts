/**
 * The rules that let packets of the environment pass and keep the others out: our nftables table, and our lines in
 * Docker's DOCKER-USER chain. Pure.
 */
import { errorIn, type Finding, warningIn } from '../finding.ts'
import type { DockerRules, MachineFacts, RuleTable } from '../machine-facts.ts'

type Facts = Pick<MachineFacts, 'daemon' | 'docker' | 'table'>

const soon = ({ daemon }: Facts): string =>
  daemon
    ? 'the daemon puts it back within 30 s; find out what takes it away'
    : 'start the daemon, which makes it'

export function walls(facts: Facts): readonly Finding[] {
  const { table } = facts
  if (table === undefined) return []
  const { name, found, version, rules } = table
  if (!found)
    return [
      errorIn('network', `the nftables table ${name} is not there: nothing keeps strangers out`, soon(facts)),
    ]
  if (!version)
    return [
      warningIn(
        'network',
        `the nftables table ${name} is of another version of Drover or of its configuration`,
        'restart the daemon (systemctl restart drover)',
      ),
    ]
  if (rules.found !== rules.wanted)
    return [
      errorIn(
        'network',
        `the nftables table ${name} has ${rules.found} rules and should have ${rules.wanted}: somebody changed it`,
        soon(facts),
      ),
    ]
  return silenced(table)
}

const silenced = ({ name, silenced }: RuleTable): readonly Finding[] =>
  silenced.map((container) =>
    errorIn(
      'network',
      `the nftables table ${name} does not let container ${container} send`,
      'restart the daemon (systemctl restart drover)',
    ),
  )

export function dockerChains(facts: Facts): readonly Finding[] {
  const { docker, daemon } = facts
  if (docker === undefined) return []
  const { version, endpoint, backends } = docker
  if (version === undefined) {
    // The daemon says it itself.
    const silent = `the Docker engine at ${endpoint} does not answer`
    return daemon ? [] : [errorIn('docker', silent, 'start it (systemctl start docker), or set docker.host')]
  }
  const holders = backends.filter((backend) => backend.docker)
  if (holders.length === 0)
    return [
      errorIn(
        'docker',
        `the Docker engine ${version} has no chains in iptables, so that Drover's rules are not asked`,
        'let it use iptables: neither `"iptables": false` nor `"firewall-backend": "nftables"` in /etc/docker/daemon.json',
      ),
    ]
  return holders.flatMap((holder) => chainFindings(facts, holder))
}

function chainFindings(
  facts: Facts,
  { program, reached, rules }: DockerRules['backends'][number],
): readonly Finding[] {
  if (rules === 0)
    return [
      errorIn(
        'docker',
        `DOCKER-USER (${program}) has no rule of Drover: Docker's firewall drops packets between containers`,
        soon(facts),
      ),
    ]
  if (!reached)
    return [
      errorIn(
        'docker',
        `FORWARD (${program}) does not lead to DOCKER-USER, so that Drover's rules are not asked`,
        'restart the engine (systemctl restart docker), and find out what changed its chains',
      ),
    ]
  return []
}
