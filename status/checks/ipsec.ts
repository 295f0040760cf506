/**
 * What keeps IPsec from being used by a daemon that would start now. Pure; a daemon that runs says it itself.
 */
import { type Finding, warningIn } from '../finding.ts'
import type { MachineFacts } from '../machine-facts.ts'

export const ipsecObstacle = ({ ipsec }: Pick<MachineFacts, 'ipsec'>): readonly Finding[] =>
  ipsec === undefined
    ? []
    : [
        warningIn(
          'tunnel',
          `IPsec cannot be used here: ${ipsec.what}`,
          `${ipsec.remedy}; WireGuard carries meanwhile`,
        ),
      ]
