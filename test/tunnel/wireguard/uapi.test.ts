/**
 * The UAPI codec: what `wg` writes and reads, in pieces of any size, with every fault answered; and random text.
 */
import { test } from 'tap'
import { hex, utf8 } from '../../../model/bytes.ts'
import { millis } from '../../../model/time.ts'
import { parseEndpoint } from '../../../tunnel/wireguard/endpoint.ts'
import { errno, renderErrno, renderStatus, UapiReader } from '../../../tunnel/wireguard/uapi.ts'
import { SeededRandom } from '../../support/ports.ts'
import { boxOf, fuzzRounds } from '../../support/wireguard.ts'

const key = (byte: number): string => hex(new Uint8Array(32).fill(byte))

const wgSyncconf = `set=1
private_key=${key(1)}
listen_port=51820
fwmark=0
replace_peers=true
public_key=${key(2)}
update_only=true
preshared_key=${key(3)}
endpoint=[2001:db8::7]:51821
persistent_keepalive_interval=25
replace_allowed_ips=true
allowed_ip=10.42.1.0/26
allowed_ip=fd00:42::/64
allowed_ip=-0.0.0.0/0
protocol_version=1
public_key=${key(4)}
remove=true

`

test('a set as wg writes it', async (t) => {
  const [operation, ...more] = new UapiReader().push(utf8(wgSyncconf))
  t.equal(more.length, 0)
  if (operation?.is !== 'set') throw new TypeError('no set')
  const { peers, ...device } = operation.change
  t.strictSame(device, {
    privateKey: new Uint8Array(32).fill(1),
    listenPort: 51820,
    fwmark: 0,
    replacePeers: true,
  })
  t.strictSame(peers[0], {
    publicKey: new Uint8Array(32).fill(2),
    updateOnly: true,
    presharedKey: new Uint8Array(32).fill(3),
    endpoint: parseEndpoint('[2001:db8::7]:51821'),
    persistentKeepalive: 25,
    replaceAllowedIps: true,
    allowedIps: [
      { address: Uint8Array.of(10, 42, 1, 0), bits: 26 },
      { address: Uint8Array.from({ length: 16 }, (_, at) => [0xfd, 0, 0, 0x42][at] ?? 0), bits: 64 },
      { address: new Uint8Array(4), bits: 0, remove: true },
    ],
  })
  t.strictSame(peers[1], { publicKey: new Uint8Array(32).fill(4), remove: true, allowedIps: [] })
})

test('operations in pieces of any size, one after the other', async (t) => {
  const text = utf8(`get=1\n\n${wgSyncconf}get=1\n\n`)
  const whole = new UapiReader().push(text)
  t.strictSame(
    whole.map(({ is }) => is),
    ['get', 'set', 'get'],
  )
  const random = new SeededRandom(3)
  for (let round = 0; round < 50; round++) {
    const reader = new UapiReader()
    const operations = []
    for (let at = 0; at < text.length; ) {
      const size = 1 + random.below(40)
      operations.push(...reader.push(text.subarray(at, at + size)))
      at += size
    }
    t.strictSame(operations, whole)
  }
})

test('faults are answered once, and the connection goes on', async (t) => {
  const faults: readonly (readonly [string, number])[] = [
    ['private_key=abcd', errno.invalid],
    [`private_key=${'g'.repeat(64)}`, errno.invalid],
    ['listen_port=65536', errno.invalid],
    ['listen_port=-1', errno.invalid],
    ['fwmark=4294967296', errno.invalid],
    ['replace_peers=false', errno.invalid],
    ['no_such_key=1', errno.invalid],
    ['nonsense', errno.protocol],
    ['=1', errno.protocol],
    ['endpoint=1.2.3.4:5', errno.invalid],
    ['public_key=', errno.invalid],
    [`public_key=${key(2)}\nendpoint=host:5`, errno.invalid],
    [`public_key=${key(2)}\nlisten_port=1`, errno.invalid],
    [`public_key=${key(2)}\nallowed_ip=10.0.0.0/33`, errno.invalid],
    [`public_key=${key(2)}\nallowed_ip=10.0.0.0`, errno.invalid],
    [`public_key=${key(2)}\nallowed_ip=::/129`, errno.invalid],
    [`public_key=${key(2)}\nallowed_ip=fe80::%1/64`, errno.invalid],
    [`public_key=${key(2)}\nallowed_ip=`, errno.invalid],
    [`public_key=${key(2)}\npersistent_keepalive_interval=65536`, errno.invalid],
    [`public_key=${key(2)}\nprotocol_version=2`, errno.invalid],
    [`public_key=${key(2)}\nremove=1`, errno.invalid],
    [`public_key=${key(2)}\ndrover_marks=1`, errno.invalid],
    ['drover_marks=true', errno.invalid],
    ['drover_aead=openssl', errno.invalid],
  ]
  for (const [lines, code] of faults) {
    const operations = new UapiReader().push(utf8(`set=1\n${lines}\nno_such_key=1\n\nget=1\n\n`))
    t.strictSame(operations, [{ is: 'bad', errno: code }, { is: 'get' }], lines)
  }
  t.strictSame(new UapiReader().push(utf8('get=1\nmore=1\nget=1\n\n')), [
    { is: 'bad', errno: errno.invalid },
    { is: 'get' },
  ])
  t.equal(renderErrno(errno.invalid), 'errno=-22\n\n')
})

test('an endpoint with a zone by name, as wg writes it', async (t) => {
  const reader = new UapiReader((name) => (name === 'eth0' ? 7 : undefined))
  const set = (zone: string) =>
    reader.push(utf8(`set=1\npublic_key=${key(2)}\nendpoint=[fe80::1%${zone}]:51820\n\n`))[0]
  for (const zone of ['eth0', '7']) {
    const operation = set(zone)
    t.match(operation?.is === 'set' && operation.change.peers[0]?.endpoint, { port: 51820, scope: 7 })
  }
  t.strictSame(set('eth1'), { is: 'bad', errno: errno.invalid })
})

test('what is not this protocol breaks the connection, for good', async (t) => {
  for (const text of [
    'GET / HTTP/1.1\r\n',
    '\n',
    'x'.repeat(5000),
    `set=1\nallowed_ip=${'1'.repeat(5000)}`,
  ]) {
    const reader = new UapiReader()
    t.strictSame(reader.push(utf8(text)).at(-1), { is: 'broken' })
    t.strictSame(reader.push(utf8('get=1\n\n')), [])
  }
})

test('the status reads back as what was set', async (t) => {
  const { device } = boxOf(1)
  const text = wgSyncconf.replace('update_only=true\n', '').replace('allowed_ip=-0.0.0.0/0\n', '')
  const [operation] = new UapiReader().push(utf8(text))
  if (operation?.is === 'set') device.configure(operation.change, millis(0))
  t.equal(
    renderStatus(device.status(), { listenPort: 51820, fwmark: 7 }),
    `private_key=${key(1)}
listen_port=51820
fwmark=7
public_key=${key(2)}
preshared_key=${key(3)}
protocol_version=1
endpoint=[2001:db8::7]:51821
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=148
rx_bytes=0
persistent_keepalive_interval=25
allowed_ip=10.42.1.0/26
allowed_ip=fd00:42::/64
errno=0

`,
  )
})

test('marks are ours: set for a peer, told where they are', async (t) => {
  const { device } = boxOf(1)
  const marks = (value: string) => {
    const [operation] = new UapiReader().push(utf8(`set=1\npublic_key=${key(2)}\ndrover_marks=${value}\n\n`))
    if (operation?.is === 'set') device.configure(operation.change, millis(0))
    return renderStatus(device.status(), { listenPort: 0, fwmark: 0 }, ['drover_aead=openssl'])
  }
  t.match(marks('true'), /^drover_aead=openssl\npublic_key=.*\n[\s\S]*\ndrover_marks=true\nerrno=0\n\n$/)
  t.notMatch(marks('false'), 'drover_marks')
})

test('random lines never throw', async (t) => {
  const random = new SeededRandom(21)
  const words = wgSyncconf.split('\n')
  let operations = 0
  for (let round = fuzzRounds(20_000) / 20; round > 0; round--) {
    const lines = Array.from({ length: random.below(12) }, () => {
      const line = words[random.below(words.length)] ?? ''
      const at = random.below(line.length + 1)
      return random.below(3) > 0
        ? line
        : line.slice(0, at) + String.fromCharCode(random.below(256)) + line.slice(at + 1)
    })
    operations += new UapiReader().push(Buffer.from(`set=1\n${lines.join('\n')}\n\n`, 'latin1')).length
  }
  t.ok(operations > 0)
})

test('a command line that is to succeed, and what is none', async (t) => {
  const reader = new UapiReader()
  const words = ['/usr/bin/node', 'a b', 'größe', '']
  const text = `replace=1\n${words.map((word) => `argument=${word}\n`).join('')}\n`
  for (const step of [1, 7, text.length]) {
    const operations = []
    const bytes = utf8(text)
    for (let at = 0; at < bytes.length; at += step)
      operations.push(...reader.push(bytes.subarray(at, at + step)))
    t.strictSame(operations, [{ is: 'replace', command: words }], `${step} bytes at a time`)
  }
  t.strictSame(reader.push(utf8('replace=1\n\n')), [{ is: 'bad', errno: errno.invalid }], 'no words')
  t.strictSame(reader.push(utf8('replace=1\nlisten_port=1\n')), [{ is: 'bad', errno: errno.invalid }])
  t.strictSame(reader.push(utf8('get=1\n\n')), [{ is: 'get' }], 'goes on')
})
