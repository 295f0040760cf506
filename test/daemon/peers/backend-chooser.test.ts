/**
 * Choices of a host for all of its peers: what an earlier daemon used goes on, probes change it, and whoever follows is
 * told once.
 */
import { test } from 'tap'
import { BackendChooser, type Way } from '../../../daemon/peers/backend-chooser.ts'
import { seconds } from '../../../model/time.ts'
import type { BackendName, IpsecState } from '../../../tunnel/choice.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../../support/ports.ts'
import { environment, host, hostId, ip } from '../../support/records.ts'

const esp = { port: 4500, esp: 'kernel' } as const
const hosts = [
  host('h1', {}, { managed: ip('10.42.1.1') }),
  host('h2', {}, { managed: ip('10.42.2.1'), ipsec: esp }),
  host('h3', {}, { managed: ip('10.42.3.1') }),
  host('h4', {}, { ipsec: esp }),
]
const kernel: IpsecState = { is: 'kernel' }

function world(found: Readonly<Record<string, BackendName>> = {}) {
  const clock = new FakeClock()
  const [log, meter] = [new MemoryLog(), new MemoryMeter()]
  let changes = 0
  const chooser = new BackendChooser(
    {
      clock,
      log,
      meter,
      interfaceTo: (id, backend) => (backend === 'wireguard' ? 'drover0' : `drx-${id.slice(0, 4)}`),
      found: (_, id) => Object.entries(found).find(([name]) => hostId(name) === id)?.[1],
      onChange: () => {
        changes++
      },
    },
    { wish: 'auto' },
  )
  const hear = (answers: Partial<Record<BackendName, boolean>>): void => {
    clock.advance(seconds(3))
    const ways = chooser.ways().filter((way) => way.name === 'h2' && answers[way.backend] !== undefined)
    chooser.heard(new Map(ways.map((way) => [way, answers[way.backend] === true])))
  }
  const backendOf = (name: string) => chooser.chosen.get(hostId(name))?.backend
  return { chooser, clock, log, meter, hear, backendOf, changes: () => changes }
}

const textOf = ({ name, backend, answers, silent }: Way): string =>
  `${name} ${backend} ${answers ? 'answers' : silent ? 'silent' : '?'}`

test('ways, choices and who is told', async (t) => {
  const { chooser, meter, log, hear, backendOf, changes } = world()
  chooser.observe(environment({ hosts }), kernel)
  t.same(
    chooser.ways().map(textOf),
    ['h2 ipsec ?', 'h2 wireguard ?', 'h3 wireguard ?'],
    'h4 has no address yet',
  )
  t.same(['h2', 'h3', 'h4'].map(backendOf), ['wireguard', 'wireguard', 'wireguard'])
  t.equal(changes(), 1)
  hear({ ipsec: true, wireguard: true })
  t.equal(backendOf('h2'), 'ipsec')
  t.equal(changes(), 2)
  t.equal(meter.values.get('drover_peer_backend{"peer":"h2","backend":"ipsec"}'), 1)
  t.equal(meter.values.get('drover_peer_backend{"peer":"h2","backend":"wireguard"}'), 0)
  t.equal(meter.values.get('drover_backend_switches_total{"peer":"h2"}'), 1)
  t.match(log.lines, [
    { fields: { peer: 'h2', backend: 'ipsec', why: 'both hosts have IPsec in their kernel' } },
  ])
  chooser.observe(environment({ hosts }), kernel)
  hear({ ipsec: true, wireguard: true })
  t.equal(changes(), 2, 'nothing new')
  for (let round = 0; round < 3; round++) hear({ ipsec: false, wireguard: true })
  t.equal(backendOf('h2'), 'wireguard')
  t.same(chooser.ways().map(textOf), ['h2 ipsec silent', 'h2 wireguard answers', 'h3 wireguard ?'])
  t.equal(chooser.chosen.get(hostId('h2'))?.reason, 'IPsec carries no probe')
  chooser.observe(environment({ hosts: hosts.slice(0, 1) }), kernel)
  t.same([...chooser.chosen], [])
})

test('after a restart of the daemon nothing moves', async (t) => {
  const { chooser, hear, backendOf } = world({ h2: 'ipsec' })
  chooser.observe(environment({ hosts }), kernel)
  t.equal(backendOf('h2'), 'ipsec')
  hear({ wireguard: true })
  t.equal(backendOf('h2'), 'ipsec')
})

test('a host that loses its charon uses what is left, at once', async (t) => {
  const { chooser, backendOf } = world({ h2: 'ipsec' })
  chooser.observe(environment({ hosts }), kernel)
  chooser.observe(environment({ hosts }), { is: 'none', why: 'charon does not answer' })
  t.equal(backendOf('h2'), 'wireguard')
  t.equal(chooser.chosen.get(hostId('h2'))?.reason, 'no IPsec here: charon does not answer')
  t.same(chooser.ways().map(textOf), ['h2 wireguard ?', 'h3 wireguard ?'])
})
