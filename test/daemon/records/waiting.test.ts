/** Entries that wait for their signer or its head: early ones are nobody's fault, and what was meant to mislead is told. */
import { test } from 'tap'
import { type Opened, Waiting } from '../../../daemon/records/waiting.ts'
import { meaningOf } from '../../../model/keys.ts'
import type { ContainerId, HostId } from '../../../model/records.ts'
import { later, seconds } from '../../../model/time.ts'
import { began, keys } from '../../support/members.ts'
import { containerId, hostId } from '../../support/records.ts'

function worldOf() {
  const known = new Set<HostId>()
  const heads = new Map<HostId, number>()
  const told: string[] = []
  const waiting = new Waiting({
    isKnown: (signer) => known.has(signer),
    headOf: (signer) => heads.get(signer) ?? 0,
    note: ({ entry }, why) => void told.push(`${entry.key}: ${why}`),
  })
  return { known, heads, told, waiting }
}

function openedOf(key: string, signer: HostId, counter = 7): Opened {
  const entry = { key, value: new Uint8Array(), revision: 1 }
  const envelope = { key: signer, body: '', counter, signature: '' }
  return { entry, meaning: meaningOf(keys.prefix, key), envelope, seen: began }
}

const [one, evil] = [hostId('one'), hostId('evil')]
const web = keys.container(one, containerId('web') as ContainerId)

test('what waits is known by its key until it is settled or replaced', (t) => {
  const { waiting, known, told } = worldOf()
  known.add(one)
  const [first, second] = [openedOf(web, one), openedOf(keys.host(evil), evil)]
  waiting.add(first)
  waiting.add(second)
  t.ok(waiting.has(web))
  t.strictSame([...waiting.keys()], [web, keys.host(evil)])
  t.strictSame(waiting.of(new Set([one])), [first])
  waiting.settle(web)
  t.notOk(waiting.has(web))
  waiting.add(first)
  waiting.replace(web)
  t.notOk(waiting.has(web))
  t.strictSame(told, [], 'a member was early')
  waiting.clear()
  t.strictSame([...waiting.keys()], [])
  t.end()
})

test('old bytes: its host has a newer list without it, once all that came with it is taken', (t) => {
  const { waiting, known, heads, told } = worldOf()
  const comes = (...came: readonly Opened[]) => {
    for (const one of came) waiting.add(one)
    waiting.tellOld(came)
  }
  heads.set(one, 8)
  comes(openedOf(web, one, 7))
  t.strictSame(told, [], 'nobody knows the signer yet')
  known.add(one)
  const old = openedOf(web, one, 7)
  comes(old)
  comes(old)
  t.strictSame(
    told,
    [`${web}: older than the newest list of its host`],
    'once, however often it is looked at',
  )
  comes(openedOf(web, one, 9), openedOf(keys.alive(one), one, 7))
  const settled = openedOf(web, one, 7)
  waiting.add(settled)
  waiting.settle(web)
  waiting.tellOld([settled])
  t.equal(told.length, 1, 'newer than the list, or what no list names, or what counts by now')
  t.end()
})

test('what nobody who belongs here has signed is told after a while, and at once when it goes', (t) => {
  const { waiting, known, told } = worldOf()
  waiting.add(openedOf(web, evil))
  t.strictSame(waiting.attempts(later(began, seconds(9))), [], 'its signer may come')
  t.strictSame(waiting.attempts(later(began, seconds(10))), [
    { who: evil, what: 'container: not signed by a member', times: 1, first: began, last: began },
  ])
  known.add(evil)
  t.strictSame(waiting.attempts(later(began, seconds(10))), [], 'it has come')
  known.delete(evil)
  waiting.replace(web)
  waiting.replace(web)
  t.strictSame(told, [`${web}: not signed by a member`])
  for (let n = 0; n < 150; n++) waiting.add(openedOf(keys.host(hostId(`x${n}`)), evil))
  t.equal(waiting.attempts(later(began, seconds(10))).length, 100, 'whoever writes how much')
  t.end()
})
