/**
 * What the kernel has of IPsec, from the text of `ip xfrm state` and `ip xfrm policy`: charon is not told when
 * somebody deletes there. Pure.
 */

export interface KernelSas {
  /** Of ESP, eight hex digits each. */
  readonly spis: ReadonlySet<string>
  /** if_ids for which packets in all three directions have a policy. */
  readonly policies: ReadonlySet<number>
}

export function kernelSasIn(states: string, policies: string): KernelSas {
  const spis = [...states.matchAll(/^\s*proto esp spi 0x([0-9a-f]{1,8})\b/gm)]
  return {
    spis: new Set(spis.map(([, spi = '']) => spi.padStart(8, '0'))),
    policies: wholeIn(policies),
  }
}

const directions = ['in', 'fwd', 'out'] as const

/** A policy begins with its selector at the first column. */
function wholeIn(text: string): ReadonlySet<number> {
  const found = new Map<number, Set<string>>()
  for (const policy of text.split(/^(?=src )/m)) {
    const direction = /^\s+dir (\w+)/m.exec(policy)?.[1]
    const ifId = Number(/^\s+if_id (0x[0-9a-f]+)/m.exec(policy)?.[1] ?? 0)
    if (direction === undefined || ifId === 0) continue
    found.set(ifId, (found.get(ifId) ?? new Set()).add(direction))
  }
  const whole = [...found].filter(([, seen]) => directions.every((one) => seen.has(one)))
  return new Set(whole.map(([ifId]) => ifId))
}
