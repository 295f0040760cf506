/**
 * The map by address holds what a Map holds, for addresses of both halves of the address space.
 */
import { test } from 'tap'
import { AddressMap } from '../../dns/zone/address-map.ts'
import type { Ipv4 } from '../../model/ip.ts'
import { SeededRandom } from '../support/ports.ts'
import { entriesOf } from '../support/zone-of.ts'

test('as a Map holds them', (t) => {
  const random = new SeededRandom(9)
  const bases = [0, 0x0a2a0000, 0x7fffff00, 0x80000000, 0xffffff00]
  const map = new AddressMap<number>()
  const model = new Map<Ipv4, number>()
  for (let step = 0; step < 5000; step++) {
    const address = ((bases[random.below(bases.length)] ?? 0) + random.below(256)) as Ipv4
    if (random.below(3) === 0) {
      map.delete(address)
      model.delete(address)
    } else {
      map.set(address, step)
      model.set(address, step)
    }
    if (map.get(address) !== model.get(address) || map.has(address) !== model.has(address))
      t.fail(`step ${step}`)
  }
  t.strictSame(new Map(entriesOf(map).sort()), new Map([...model].sort()))
  t.ok(model.size > 500)
  t.end()
})
