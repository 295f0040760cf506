/**
 * Whether the parts that Drover works with are there: Docker engine, store, tunnel. Pure.
 */
import { errorIn, type Finding } from '../finding.ts'
import type { Vitals } from '../vitals.ts'

interface Known {
  readonly vitals: Vitals
}

export function tunnelSettings({ vitals: { tunnel } }: Known): readonly Finding[] {
  if (!tunnel.running || tunnel.problem === '') return []
  return [
    errorIn(
      'tunnel',
      `the tunnel refuses its settings: ${tunnel.problem}`,
      'if its port is taken, set tunnel.port, which each environment on a machine needs for itself',
    ),
  ]
}

export const dockerAnswers = ({ vitals: { docker } }: Known): readonly Finding[] =>
  docker.connected
    ? []
    : [
        errorIn(
          'docker',
          `the Docker engine at ${docker.endpoint} does not answer`,
          'start it; Drover picks it up by itself',
        ),
      ]

export const storeAnswers = ({ vitals: { store } }: Known): readonly Finding[] =>
  store.connected
    ? []
    : [
        errorIn(
          'store',
          `the store ${store.url} is out of reach: going on with the last snapshot`,
          'check etcd and the way to it; nothing that works stops',
        ),
      ]

export function tunnelRuns({ vitals: { tunnel } }: Known): readonly Finding[] {
  const { interface: name, engine, problem } = tunnel
  if (tunnel.running) return []
  if (problem !== '')
    return [
      errorIn(
        'tunnel',
        `the tunnel ${name} cannot be set up: ${problem}`,
        'Drover tries again by itself; docs/operations.md says what may be in the way',
      ),
    ]
  return [
    errorIn(
      'tunnel',
      engine === 'kernel'
        ? `the WireGuard device ${name} is not there`
        : `the tunnel process of ${name} does not answer`,
      'see the log; Drover starts it again by itself',
    ),
  ]
}
