/**
 * A strongSwan that was configured by hand, word for word as docs/ipsec.md says, as the peer of a Drover host.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import tap, { test } from 'tap'
import { charonProgram } from '../../../tunnel/ipsec/charon-place.ts'
import { type IpsecHost, IpsecWorld, needsIpsec, peerOf } from '../../support/ipsec-hosts.ts'
import { carried, isSingle, sasOf } from '../../support/ipsec-sas.ts'
import { until } from '../../support/netns.ts'

tap.setTimeout(240_000)

const page = readFileSync(join(import.meta.dirname, '../../../docs/ipsec.md'), 'utf8')
const section = page.split('## A strongSwan of your own')[1] ?? ''
const blockOf = (kind: string): string =>
  new RegExp(`\`\`\`${kind}\\n([^\`]*)\`\`\``).exec(section)?.[1] ?? ''

/** Does what the page says, in the host's own folders. */
async function byHand(world: IpsecWorld, host: IpsecHost, peer: IpsecHost): Promise<string> {
  const folder = join(host.folder, 'swanctl')
  for (const name of ['private', 'x509', 'x509ca']) mkdirSync(join(folder, name), { recursive: true })
  const joined = { certificate: host.certificate, authorities: [world.authority.certificate.pem] }
  writeFileSync(join(host.folder, 'state', 'trust.json'), JSON.stringify(joined))
  const commands = blockOf('sh')
    .replaceAll('/etc/swanctl', folder)
    .replaceAll('/var/lib/drover', join(host.folder, 'state'))
  await host.space.runner.run(['sh', '-ec', commands])
  const text = blockOf('')
    .replace('OWN-ID', host.identity.id)
    .replace('PEER-ID', peer.identity.id)
    .replaceAll('192.0.2.1', peer.outer)
    .replaceAll('192.0.2.2', host.outer)
    .replaceAll('10.42.1.0/26', peer.block)
    .replaceAll('10.42.2.0/26', host.block)
  writeFileSync(join(folder, 'swanctl.conf'), text)
  return folder
}

/** As Debian has it, but for userspace ESP, which this kernel needs, and a control socket of its own. */
const plainConf = (uri: string): string => `
charon-systemd {
  load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey constraints hmac sha2 kdf aes gcm kernel-libipsec kernel-netlink socket-default vici
  plugins {
    vici { socket = ${uri} }
    kernel-libipsec { allow_peer_ts = yes }
    kernel-netlink { fwmark = !0x42 }
    socket-default { fwmark = 0x42 }
  }
}
swanctl { load = random openssl pem pkcs1 pkcs8 x509 pubkey }
`

test('a strongSwan set up by hand as docs/ipsec.md says', needsIpsec, async (t) => {
  const world = await IpsecWorld.open()
  t.teardown(() => world.close())
  const ours = await world.host({ number: 1, esp: 'userspace' })
  const plain = await world.host({ number: 2, esp: 'userspace' })
  await ours.start()
  const folder = await byHand(world, plain, ours)
  const uri = `unix://${join(folder, 'vici')}`
  const environment = [`STRONGSWAN_CONF=${join(folder, 'strongswan.conf')}`, `SWANCTL_DIR=${folder}`]
  writeFileSync(join(folder, 'strongswan.conf'), plainConf(uri))
  world.netns.spawn(plain.space, ['env', ...environment, charonProgram() ?? ''])
  const swanctl = (line: string): Promise<string> =>
    plain.space.sh(`env ${environment.join(' ')} swanctl ${line} --uri ${uri}`)
  await until('charon', () => existsSync(join(folder, 'vici')))
  t.match(await swanctl('--load-all --noprompt'), 'successfully loaded 1 connections')

  await ours.backend.apply([peerOf(plain)])
  await ours.space.sh(`ip route add ${plain.block} dev ipsec0 src ${ours.managed}`)
  await plain.space.sh(`ip route add ${ours.block} dev ipsec0 src ${plain.managed}`)
  await until('an SA', async () => (await sasOf(ours)).some(({ state }) => state === 'ESTABLISHED'), 30_000)
  await carried(ours, plain)
  await carried(plain, ours)

  await swanctl('--terminate --ike drover')
  await swanctl('--initiate --child net')
  await carried(plain, ours)
  await until('one SA', () => isSingle(ours), 60_000)
  t.same((await ours.backend.status()).problems, [])
})
