/**
 * Whether the ports that Drover listens on are held by somebody else. Pure.
 */
import { errorIn, type Finding } from '../finding.ts'
import type { MachineFacts } from '../machine-facts.ts'

export const portsTaken = ({ sockets }: Pick<MachineFacts, 'sockets'>): readonly Finding[] =>
  sockets.flatMap(({ key, protocol, port, holder }) =>
    holder === undefined
      ? []
      : [
          errorIn(
            'configuration',
            `${protocol.toUpperCase()} port ${port} (${key}) is held by ${holder}`,
            `end that, or set ${key} to another port`,
          ),
        ],
  )
