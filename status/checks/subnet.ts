/**
 * Whether the environment's subnet is still free on this machine: somebody may have made a network since. Pure.
 */
import { errorIn, type Finding } from '../finding.ts'
import type { MachineFacts } from '../machine-facts.ts'

export const subnetOverlap = ({ overlap }: Pick<MachineFacts, 'overlap'>): readonly Finding[] =>
  overlap === undefined
    ? []
    : [
        errorIn(
          'network',
          `the subnet of the environment meets another network: ${overlap.text}`,
          'move that network away; the subnet of an environment stays what it is',
        ),
      ]
