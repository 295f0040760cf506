/**
 * What an operator sees when something is wrong, with real charons: one error, which says what and whose.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tap, { type Test, test } from 'tap'
import type { DroverError, ErrorCode } from '../../../model/errors.ts'
import { instant, minutes } from '../../../model/time.ts'
import { loadOrCreateAuthority } from '../../../pki/authority.ts'
import { childName } from '../../../tunnel/ipsec/connections.ts'
import { ikeIdentity } from '../../../tunnel/ipsec/credentials.ts'
import {
  environmentName,
  environmentUuid,
  type HostWish,
  type IpsecHost,
  IpsecWorld,
  needsIpsec,
  peerOf,
} from '../../support/ipsec-hosts.ts'
import { carried, meet } from '../../support/ipsec-sas.ts'
import { until } from '../../support/netns.ts'

tap.setTimeout(240_000)

const day = minutes(24 * 60)

async function world(t: Test): Promise<IpsecWorld> {
  const made = await IpsecWorld.open()
  t.teardown(() => made.close())
  return made
}

type Act = (one: IpsecHost, two: IpsecHost) => Promise<unknown>

/** What host 1 says of host 2, once both were told of each other. */
async function faultOf(
  t: Test,
  code: ErrorCode,
  wish: Partial<HostWish>,
  act: Act = meet,
): Promise<{ fault: DroverError; two: IpsecHost }> {
  const made = await world(t)
  const one = await made.host({ number: 1, esp: 'userspace' })
  const two = await made.host({ number: 2, esp: 'userspace', ...wish })
  await Promise.all([one.start(), two.start()])
  await act(one, two)
  const fault = await faultAt(one, code)
  t.equal(fault.fields.peer, two.identity.id)
  return { fault, two }
}

/** Until both hosts know each other there may be others. */
function faultAt(host: IpsecHost, code: ErrorCode): Promise<DroverError> {
  let last = 'none'
  return until(
    `${code} at host ${host.number}`,
    async () => {
      const [fault] = (await host.backend.status()).problems ?? []
      last = fault?.code ?? 'none'
      return last === code && fault
    },
    60_000,
  ).catch(() => {
    throw new Error(`${code} never came; the last was ${last}`)
  })
}

test('a certificate that has ended', needsIpsec, async (t) => {
  const { fault, two } = await faultOf(t, 'IPSEC_EXPIRED', { certified: instant(Date.now() - 40 * day) })
  t.match(fault.line, /valid from .* to .*, and here it is 20\d\d-.*; see `drover status` on the peer/)
  await faultAt(two, 'IPSEC_REJECTED')
})

test('a certificate of tomorrow: a clock is wrong', needsIpsec, async (t) => {
  await faultOf(t, 'IPSEC_CLOCK', { certified: instant(Date.now() + day) })
})

test('a certificate of another CA', needsIpsec, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-ca-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const environment = { name: environmentName, uuid: environmentUuid }
  const by = loadOrCreateAuthority(folder, { environment, passphrase: undefined, now: instant(Date.now()) })
  await faultOf(t, 'IPSEC_UNTRUSTED', { by })
})

test('a peer that does not know this host', needsIpsec, async (t) => {
  await faultOf(t, 'IPSEC_PROPOSAL', {}, async (one, two) => {
    await two.backend.apply([])
    await one.backend.apply([peerOf(two)])
  })
})

test('a peer with another proposal, and that it goes away when the peer is mended', needsIpsec, async (t) => {
  const made = await world(t)
  const one = await made.host({ number: 1, esp: 'userspace' })
  const two = await made.host({ number: 2, esp: 'userspace' })
  await Promise.all([one.start(), two.start()])
  const vici = await two.vici()
  t.teardown(() => vici.close())
  const foreign = {
    version: '2',
    remote_addrs: [one.outer],
    local_port: '4500',
    proposals: ['aes128-sha256-modp2048'],
    local: { auth: 'pubkey', id: ikeIdentity(environmentName, two.identity.id) },
    remote: { auth: 'pubkey', id: ikeIdentity(environmentName, one.identity.id) },
    children: { [childName]: { local_ts: ['10.42.0.0/16'], remote_ts: [one.block] } },
  }
  await vici.request('load-conn', { foreign })
  await one.backend.apply([peerOf(two)])
  t.equal((await faultAt(one, 'IPSEC_PROPOSAL')).fields.peer, two.identity.id)
  await vici.request('unload-conn', { name: 'foreign' })
  await one.space.sh(`ip route add ${two.block} dev ipsec0 src ${one.managed}`)
  await two.space.sh(`ip route add ${one.block} dev ipsec0 src ${two.managed}`)
  await meet(one, two)
  await carried(one, two)
  t.same((await one.backend.status()).problems, [])
})

test('nobody where the peer should be', needsIpsec, async (t) => {
  await faultOf(t, 'IPSEC_SILENT', {}, async (one, two) => {
    await two.stop()
    await two.kill()
    await one.backend.apply([peerOf(two)])
  })
})

test('a port that somebody else has', needsIpsec, async (t) => {
  const made = await world(t)
  const one = await made.host({ number: 1, esp: 'userspace' })
  const script = "require('dgram').createSocket('udp4').bind(4500, () => console.log('ready'))"
  const holder = made.netns.spawn(one.space, [process.execPath, '-e', script])
  await new Promise((ready) => holder.stdout?.once('data', ready))
  one.begin()
  const fault = await until('a fault', () => one.fault)
  t.match(fault, { code: 'IPSEC_PORT' })
  t.match(fault.message, /UDP 4500 is held by .+ \(process \d+\)/)
  holder.kill('SIGKILL')
  await until('charon comes once the port is free', () => one.ups > 0, 30_000)
  t.equal(one.fault, undefined)
})

test('a key that charon cannot read', needsIpsec, async (t) => {
  const made = await world(t)
  const one = await made.host({ number: 1, esp: 'userspace', key: 'no key' })
  await one.start()
  await t.rejects(one.backend.apply([]), { code: 'IPSEC_KEY' })
  t.match((await one.backend.status()).problems, [{ code: 'IPSEC_KEY' }])
})

const plugins = '/usr/lib/ipsec/plugins'

test('a plugin that is not installed', needsIpsec, async (t) => {
  const made = await world(t)
  const instead = { of: `${plugins}/libstrongswan-kernel-libipsec.so`, file: '/dev/null' }
  const one = await made.host({ number: 1, esp: 'userspace', instead })
  await one.start()
  const [fault, ...others] = (await one.backend.status()).problems ?? []
  t.match(fault?.line, /^charon lacks a plugin: kernel-libipsec; apt-get install .* libcharon-extra-plugins/)
  t.same(others, [])
})

test('a charon of an old version', needsIpsec, async (t) => {
  const made = await world(t)
  const of = `${plugins}/libstrongswan-vici.so`
  const file = join(made.folder, 'vici.so')
  // Debian's own, but for what it says of itself.
  const text = readFileSync(of, 'latin1').replaceAll(
    /\0([56]\.\d+\.\d+)\0/g,
    (_, version: string) => `\0${'5.7.2'.padEnd(version.length, '\0')}\0`,
  )
  writeFileSync(file, text, 'latin1')
  const one = await made.host({ number: 1, esp: 'userspace', instead: { of, file } })
  await one.start()
  const [fault] = (await one.backend.status()).problems ?? []
  t.match(fault?.line, /^charon is too old: charon says it is 5\.7\.2; install strongSwan 5\.8 or newer/)
})

test('a charon that was told to do without a plugin', needsIpsec, async (t) => {
  const made = await world(t)
  const kernel = await made.host({ number: 1, esp: 'kernel' })
  await kernel.start()
  await kernel.stop()
  const wants = made.sibling(kernel, 'userspace')
  await wants.start()
  t.match((await wants.backend.status()).problems, [{ code: 'IPSEC_PLUGIN', message: /kernel-libipsec/ }])
})
