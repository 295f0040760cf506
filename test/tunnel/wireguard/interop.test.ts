/**
 * The core against Debian's wireguard-go over loopback UDP in a namespace of its own: a handshake that we begin,
 * one that it begins (after it has forgotten us), pings both ways, and an hour of rekeying by our clock. Needs root.
 */
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'tap'
import { hex } from '../../../model/bytes.ts'
import { NetnsWorld, needsRoot, until } from '../../support/netns.ts'
import { primitives } from '../../support/wireguard.ts'

const installed = spawnSync('wireguard-go', ['--version']).status === 0
const skip = installed ? needsRoot : { skip: 'needs wireguard-go (Debian: wireguard-go)' }

/** Sets a device through its socket and gives the answer. */
function uapi(name: string, lines: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(`/var/run/wireguard/${name}.sock`, () => socket.write(`${lines.join('\n')}\n\n`))
    let text = ''
    socket.on('data', (chunk) => {
      text += String(chunk)
      if (!text.endsWith('\n\n')) return
      socket.destroy()
      resolve(text)
    })
    socket.on('error', reject)
  })
}

test('Debian’s wireguard-go as the peer', skip, async (t) => {
  const world = await NetnsWorld.open()
  t.teardown(() => world.close())
  const space = await world.netns('interop')
  const name = `dtw${process.pid}`
  const keys = [new Uint8Array(32).fill(0x42), new Uint8Array(32).fill(0x43)]
  const [ours = '', theirs = ''] = keys.map((key) => hex(key))
  const [ourPublic = '', theirPublic = ''] = keys.map((key) => hex(primitives.crypto.publicKey(key)))

  t.teardown(() => rmSync(`/var/run/wireguard/${name}.sock`, { force: true }))
  world.spawn(space, ['wireguard-go', '-f', name])
  await until('its socket', () => uapi(name, ['get=1']).catch(() => undefined))
  const peer = [`public_key=${ourPublic}`, 'endpoint=127.0.0.1:7001', 'allowed_ip=10.0.0.1/32']
  const device = [`private_key=${theirs}`, 'listen_port=7002', 'replace_peers=true']
  t.equal(await uapi(name, ['set=1', ...device, ...peer]), 'errno=0\n\n')
  await space.sh(`ip addr add 10.0.0.2/24 dev ${name}`)
  await space.sh(`ip link set dev ${name} up`)

  const program = join(import.meta.dirname, '../../support/wireguard-over-udp.ts')
  const driver = world.spawn(space, [process.execPath, program, ours, theirPublic, '7001', '7002'])
  let said = ''
  driver.stdout?.on('data', (chunk) => {
    said += String(chunk)
  })
  await until('our program', () => said.includes('ready'))
  driver.stdin?.write('ping')
  await until('an answer to our ping', () => said.includes('answered'))
  t.match(await uapi(name, ['get=1']), /last_handshake_time_sec=[1-9]/)

  t.equal(await uapi(name, ['set=1', `public_key=${ourPublic}`, 'remove=true']), 'errno=0\n\n')
  t.equal(await uapi(name, ['set=1', ...peer]), 'errno=0\n\n')
  const pinged = await space.sh('ping -c 3 -i 0.2 -W 3 10.0.0.1')
  t.match(pinged, /3 received/)
  t.match(said, /asked/)
  t.match(await uapi(name, ['get=1']), /last_handshake_time_sec=[1-9]/)

  const handshakes = new Set<string>()
  for (let round = 0; round < 30; round++) {
    const [aged, answered] = [said.split('older').length, said.split('answered').length]
    driver.stdin?.write('jump 121000')
    await until('our clock', () => said.split('older').length > aged)
    driver.stdin?.write('ping')
    await until('an answer to the ping that rekeys', () => said.split('answered').length > answered)
    driver.stdin?.write('ping')
    await until('an answer on the new keys', () => said.split('answered').length > answered + 1)
    handshakes.add(
      /last_handshake_time_sec=\d+\nlast_handshake_time_nsec=\d+/.exec(await uapi(name, ['get=1']))?.[0] ??
        '',
    )
  }
  t.ok(handshakes.size >= 28, `${handshakes.size} handshakes`)
})
