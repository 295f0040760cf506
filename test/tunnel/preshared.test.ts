/**
 * Preshared keys that two hosts derive from their identities, on two real engines: packets pass with them, also
 * while they change, and a new handshake comes about with the new ones only.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { t as root, test } from 'tap'
import { hex } from '../../model/bytes.ts'
import type { Cidr } from '../../model/ip.ts'
import { instant } from '../../model/time.ts'
import { type HostIdentity, loadOrCreateIdentity } from '../../pki/identity.ts'
import { UapiClient } from '../../tunnel/uapi-client.ts'
import { WireguardBackend } from '../../tunnel/wireguard-backend.ts'
import { isRoot, NetnsWorld, needsRoot, until } from '../support/netns.ts'
import { settings } from '../support/records.ts'
import { gateway, outputOf, port, type TunnelHost, TunnelWorld } from '../support/tunnel-hosts.ts'

root.setTimeout(600_000)
const world = isRoot ? new TunnelWorld(await NetnsWorld.open()) : undefined

/** A host's backend towards the other one, by way of the relay. */
function backendOf(host: TunnelHost, own: HostIdentity, other: TunnelHost, theirs: HostIdentity) {
  const backend = new WireguardBackend(new UapiClient(host.socket), {
    privateKey: own.wireguardPrivate,
    port,
  })
  const peer = {
    host: theirs.id,
    publicKey: theirs.wireguardKey,
    endpoint: { address: gateway(host.number), port },
    allowed: [`${other.inner}/32` as Cidr],
    marks: false,
  }
  return async (since: number | undefined): Promise<void> => {
    if (since === undefined) return backend.apply([peer])
    const context = { environment: settings.uuid, since: instant(since) }
    const presharedKey = own.presharedKeys(theirs.signingKey, context)
    await backend.apply([presharedKey === undefined ? peer : { ...peer, presharedKey }])
  }
}

test('keys that both sides derive, and change', needsRoot, async (t) => {
  if (world === undefined) return
  const folder = mkdtempSync(join(tmpdir(), 'dt-preshared-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const { router, hosts } = await world.hosts('psk', ['drover', 'drover'])
  const [one, other] = hosts
  if (one === undefined || other === undefined) throw new TypeError('two hosts')
  await world.relay(router, 4)
  const [first, second] = ['one', 'other'].map((name) => loadOrCreateIdentity(join(folder, name)))
  if (first === undefined || second === undefined) throw new TypeError('two identities')
  const [near, far] = [backendOf(one, first, other, second), backendOf(other, second, one, first)]
  const both = (since: number | undefined) => Promise.all([near(since), far(since)])
  await both(1000)
  t.ok(await one.ping(other.inner), 'packets pass')
  const key = await one.about('preshared-keys')
  t.equal(await other.about('preshared-keys'), key)
  t.not(key, '(none)')
  const handshake = await one.about('latest-handshakes')

  const pings = world.netns.spawn(one.space, ['ping', '-i', '0.05', '-W', '2', '-c', '60', other.inner])
  const said = outputOf(pings)
  await until('a reply', () => said().includes('bytes from'))
  await near(2000)
  await until('more replies with one side ahead', () => said().split('bytes from').length > 20)
  await far(2000)
  await until('the end', () => said().includes('packet loss'))
  t.match(said(), / 0% packet loss/, 'the session goes on while the keys change')
  t.equal(await one.about('latest-handshakes'), handshake)
  t.not(await one.about('preshared-keys'), key)

  const restart = async (): Promise<void> => {
    // A peer that is set anew has no session.
    await new UapiClient(one.socket).set([
      `public_key=${hex(Buffer.from(second.wireguardKey, 'base64'))}`,
      'remove=true',
    ])
  }
  await restart()
  await near(1000)
  t.notOk(await one.ping(other.inner, '-c 1 -W 1'), 'no handshake with the former key')
  await restart()
  await near(2000)
  t.ok(await one.ping(other.inner), 'but with the new one')
  await both(undefined)
  t.equal(await one.about('preshared-keys'), '(none)')
  await restart()
  await near(undefined)
  t.ok(await one.ping(other.inner), 'and without any')
  await Promise.all([one.kill(), other.kill()])
})

test('cleaning up', async () => world?.close())
