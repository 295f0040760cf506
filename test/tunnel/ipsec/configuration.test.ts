/**
 * What charon is told, as text: compared with what stands here, and loaded by the real swanctl into a real charon.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import tap, { test } from 'tap'
import type { Cidr } from '../../../model/ip.ts'
import type { Peer } from '../../../tunnel/backend.ts'
import { charonConf, swanctlConf } from '../../../tunnel/ipsec/charon-conf.ts'
import { charonEnvironment } from '../../../tunnel/ipsec/charon-place.ts'
import { connectionOf, type Esp, hasIpsec, type IpsecSelf } from '../../../tunnel/ipsec/connections.ts'
import type { IfId } from '../../../tunnel/ipsec/if-id.ts'
import { namesIn } from '../../../tunnel/ipsec/vici-client.ts'
import { type IpsecHost, IpsecWorld, needsIpsec } from '../../support/ipsec-hosts.ts'
import { hostIdOf } from '../../support/snapshots.ts'

tap.setTimeout(240000)

const self = (esp: Esp): IpsecSelf => ({
  host: hostIdOf(1),
  environment: 'default',
  subnet: '10.42.0.0/16' as Cidr,
  esp,
  port: 4500,
})

const peer = (esp: Esp, over: Partial<Peer> = {}): Peer => ({
  host: hostIdOf(2),
  publicKey: '',
  endpoint: { address: '192.0.2.2', port: 51_820 },
  allowed: ['10.42.2.0/26', '10.42.9.9/32'] as Cidr[],
  marks: false,
  ipsec: { port: 14_500, esp },
  ...over,
})

const configured = (own: Esp, theirs: Esp, over: Partial<Peer> = {}): string =>
  swanctlConf({
    connections: new Map(
      [peer(theirs, over)]
        .filter(hasIpsec)
        .map((one) => [one.host, connectionOf(self(own), one, 0xd20e0001 as IfId)]),
    ),
    keys: ['host.pem'],
    authorities: new Map([['ca-1', 'ca-1.pem']]),
  })

const common = `connections {
  00000002-0000-5000-8000-000000000000 {
    version = 2
    remote_addrs = 192.0.2.2, %any
    remote_port = 14500
    local_port = 4500
    proposals = aes256gcm16-prfsha384-x25519
    encap = yes
    mobike = yes
    dpd_delay = 10s
    rekey_time = 4h
    reauth_time = 0s
    unique = never
    local {
      auth = pubkey
      id = "O=drover default, CN=00000001-0000-5000-8000-000000000000"
    }
    remote {
      auth = pubkey
      id = "O=drover default, CN=00000002-0000-5000-8000-000000000000"
    }
    children {
      net {
        mode = tunnel
        rekey_time = 1h
        dpd_action = clear
        close_action = none
`
const rest = `      }
    }
  }
}
secrets {
  private-0 {
    file = host.pem
  }
}
authorities {
  ca-1 {
    cacert = ca-1.pem
  }
}
`

test('kernel ESP on both sides: the whole subnet, tied to an interface', (t) => {
  const child = `        local_ts = 10.42.0.0/16
        remote_ts = 10.42.0.0/16
        esp_proposals = aes256gcm16-x25519-esn
        start_action = trap
        replay_window = 1024
        if_id_in = 3524132865
        if_id_out = 3524132865
`
  t.equal(configured('kernel', 'kernel'), common + child + rest)
  t.equal(configured('kernel', 'userspace'), common + child.replace('-esn', '') + rest)
  t.end()
})

test("userspace ESP: the peer's networks", (t) => {
  const child = `        local_ts = 10.42.0.0/16
        remote_ts = 10.42.2.0/26, 10.42.9.9/32
        esp_proposals = aes256gcm16-x25519
        start_action = none
`
  t.equal(configured('userspace', 'kernel'), common + child + rest)
  t.end()
})

test('strongswan.conf of our own charon', (t) => {
  const place = { port: 4500, socket: '/run/drover/charon.vici', esp: 'kernel', logFile: undefined } as const
  const text = charonConf(place)
  t.equal(
    text,
    `charon-systemd {
  load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey constraints hmac sha2 kdf aes gcm kernel-netlink socket-default vici
  port = 0
  port_nat_t = 4500
  threads = 16
  install_routes = no
  install_virtual_ip = no
  routing_table = 220
  routing_table_prio = 32800
  retransmit_tries = 4
  retransmit_timeout = 1.0
  retransmit_base = 1.5
  ikesa_table_size = 512
  ikesa_table_segments = 16
  follow_redirects = no
  plugins {
    vici {
      socket = unix:///run/drover/charon.vici
    }
    kernel-netlink {
      fwmark = !0x0d70
    }
    socket-default {
      fwmark = 0x0d70
    }
    kernel-libipsec {
      allow_peer_ts = yes
    }
  }
  journal {
    default = 1
  }
}
swanctl {
  load = random openssl pem pkcs1 pkcs8 x509 pubkey
}
`,
  )
  const userspace = charonConf({ ...place, esp: 'userspace', logFile: '/var/lib/drover/ipsec/charon.log' })
  t.match(userspace, / kernel-libipsec kernel-netlink /, 'before the kernel, whose ESP it takes the place of')
  t.match(userspace, /filelog \{\n {4}log \{\n {6}path = \/var\/lib\/drover\/ipsec\/charon.log\n/)
  t.end()
})

/** The files of a host as swanctl wants them. */
function writeFiles(world: IpsecWorld, host: IpsecHost, text: string): string {
  const folder = join(host.folder, 'swanctl')
  for (const name of ['private', 'x509', 'x509ca']) mkdirSync(join(folder, name), { recursive: true })
  writeFileSync(join(folder, 'private/host.pem'), host.identity.tlsKey())
  writeFileSync(join(folder, 'x509/host.pem'), host.certificate)
  writeFileSync(join(folder, 'x509ca/ca-1.pem'), world.authority.certificate.pem)
  writeFileSync(join(folder, 'swanctl.conf'), text)
  return folder
}

test('swanctl loads every one of them into a real charon', needsIpsec, async (t) => {
  const world = await IpsecWorld.open()
  t.teardown(() => world.close())
  const host = await world.host({ number: 1, esp: 'userspace' })
  await host.start()
  const settings = join(host.folder, 'state/ipsec')
  const vici = await host.vici()
  t.teardown(() => vici.close())
  for (const [own, theirs] of [
    ['kernel', 'kernel'],
    ['kernel', 'userspace'],
    ['userspace', 'userspace'],
    ['userspace', 'kernel'],
  ] as const) {
    // An if_id is not known to userspace ESP; what swanctl and charon make of the rest shows all the same.
    const text = configured(own, theirs).replace('start_action = trap', 'start_action = none')
    const folder = writeFiles(world, host, text)
    const { STRONGSWAN_CONF = '' } = charonEnvironment(settings)
    const uri = `unix://${host.socket}`
    const said = await host.space.sh(
      `env STRONGSWAN_CONF=${STRONGSWAN_CONF} SWANCTL_DIR=${folder} swanctl --load-all --noprompt --uri ${uri}`,
    )
    t.match(said, 'loaded certificate from', `${own} to ${theirs}: the certificate`)
    t.match(said, 'loaded private key from', 'the key')
    t.match(said, "loaded authority 'ca-1'", 'the authority')
    t.match(said, 'successfully loaded 1 connections', 'the connection')
    const [loaded] = await vici.list('list-conns')
    t.match(loaded, {
      [hostIdOf(2)]: { version: 'IKEv2', unique: 'UNIQUE_NEVER', children: { net: { mode: 'TUNNEL' } } },
    })
  }
  t.same(namesIn(await vici.request('get-conns'), 'conns'), [hostIdOf(2)])
  t.match(readFileSync(join(settings, 'charon.log'), 'utf8'), 'added vici connection')
})
