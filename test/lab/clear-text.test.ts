/**
 * Not one packet with an address of the environment is on the underlay in clear: during traffic, with the tunnel
 * killed, while it restarts, and with the daemon stopped. A planted packet proves that the capture would see it.
 */
import { test } from 'tap'
import { must, run, until } from '../../lab/command.ts'
import { addressOf, Capture, labFor, labNeeds, Pinger, pidOf, reaches } from '../support/lab.ts'

test('no clear text on the underlay', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'clear', hosts: 2, store: 'etcd' })
  const [h1, h2] = [lab.host(1), lab.host(2)]
  await Promise.all([h1.managed({ name: 'one' }), h2.managed({ name: 'two' })])
  const [one, two] = await Promise.all([addressOf(h1, 'one'), addressOf(h2, 'two')])
  await reaches(h1, 'one', two)
  const capture = await Capture.start(lab, 'net 10.42.0.0/16')
  const carried = await Capture.start(lab, 'udp port 51820')
  t.teardown(() => Promise.all([capture.stop(), carried.stop()]))
  const pid = await pidOf(h1, 'one')
  /** Tries for a while, whether it is answered or not. */
  const knock = async (): Promise<void> => {
    const ping = ['ping', '-n', '-c', '20', '-i', '0.05', '-W', '1']
    await Promise.all([
      run(['nsenter', `--net=/proc/${pid}/ns/net`, ...ping, two]),
      run([...ping, two], { namespace: h1.place.namespace }),
      run(['nsenter', `--net=/proc/${pid}/ns/net`, ...ping, h2.entry.managed ?? '']),
      run(['nsenter', `--net=/proc/${pid}/ns/net`, ...ping, '10.42.200.200']),
    ])
  }

  await t.test('tunnel up', async (t) => {
    await knock()
    t.same(capture.lines, [])
    t.ok(carried.lines.length > 0, 'the tunnel carries it')
  })

  await t.test('tunnel killed, and on its way back', async (t) => {
    const pinger = await Pinger.start(pid, two)
    t.ok(await h1.kill('tunnel'), 'it ran')
    await knock()
    const since = performance.now()
    const { replies } = pinger
    await until('the tunnel', () => (pinger.replies > replies + 5 ? true : undefined))
    t.comment(`answers again ${Math.round(performance.now() - since)} ms later`)
    await pinger.stop()
    t.same(capture.lines, [])
    t.same(await addressOf(h1, 'one'), one)
  })

  await t.test('daemon stopped, then the tunnel as well', async (t) => {
    await h1.kill('daemon', 'SIGTERM')
    await knock()
    await h1.kill('tunnel')
    await knock()
    t.same(capture.lines, [])
    await h1.start('daemon')
    t.ok(await reaches(h1, 'one', two), 'it all comes back')
    t.same(capture.lines, [])
  })

  await t.test('the capture would have seen it', async (t) => {
    const { store } = lab.place
    await must(['ip', '-n', store, 'route', 'add', '10.42.0.0/16', 'via', h1.entry.underlay])
    await run(['ping', '-n', '-c', '3', '-i', '0.2', '-W', '1', one], { namespace: store })
    await until('the planted packet', () => (capture.lines.length > 0 ? true : undefined))
    t.match(capture.lines[0], one)
    t.equal(
      capture.lines.some((line) => line.includes('echo reply')),
      false,
      'and nobody answers it',
    )
  })
})
