import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { test } from 'tap'
import { concat, hex } from '../../../model/bytes.ts'
import { isSilence, ViciClient } from '../../../tunnel/ipsec/vici-client.ts'
import { decodeMessage, encodeMessage, type ViciSection } from '../../../tunnel/ipsec/vici-message.ts'
import { decodePacket, encodePacket, type ViciPacket, ViciReader } from '../../../tunnel/ipsec/vici-packet.ts'
import { SeededRandom } from '../../support/ports.ts'

const text = (value: string): string => hex(new Uint8Array(Buffer.from(value)))

/** The example of strongSwan's description of the format. */
const example: ViciSection = {
  key1: 'value1',
  section1: { 'sub-section': { key2: 'value2' }, list1: ['item1', 'item2'] },
}
const exampleBytes = [
  ['03', '04', text('key1'), '0006', text('value1')],
  ['01', '08', text('section1')],
  ['01', '0b', text('sub-section')],
  ['03', '04', text('key2'), '0006', text('value2')],
  ['02'],
  ['04', '05', text('list1')],
  ['05', '0005', text('item1')],
  ['05', '0005', text('item2')],
  ['06'],
  ['02'],
]
  .flat()
  .join('')

test('the example of the description, as bytes and back', (t) => {
  t.equal(hex(encodeMessage(example)), exampleBytes)
  t.same(decodeMessage(encodeMessage(example)), example)
  t.end()
})

test('packets of every type', (t) => {
  const vectors: readonly (readonly [ViciPacket, string])[] = [
    [{ is: 'request', name: 'version', message: {} }, `0000000900${'07'}${text('version')}`],
    [
      { is: 'response', message: { success: 'yes' } },
      `0000000f01${'0307'}${text('success')}0003${text('yes')}`,
    ],
    [{ is: 'unknownCommand' }, '0000000102'],
    [{ is: 'register', name: 'log' }, `000000050303${text('log')}`],
    [{ is: 'unregister', name: 'log' }, `000000050403${text('log')}`],
    [{ is: 'confirm' }, '0000000105'],
    [{ is: 'unknownEvent' }, '0000000106'],
    [
      { is: 'event', name: 'log', message: { level: '1' } },
      `0000000f0703${text('log')}0305${text('level')}0001${text('1')}`,
    ],
  ]
  for (const [packet, bytes] of vectors) {
    t.equal(hex(encodePacket(packet)), bytes, packet.is)
    t.same(decodePacket(encodePacket(packet).subarray(4)), packet, packet.is)
  }
  t.end()
})

test('a stream is cut into packets wherever it breaks', (t) => {
  const packets: readonly ViciPacket[] = [
    { is: 'confirm' },
    { is: 'event', name: 'list-sa', message: example },
    { is: 'response', message: {} },
  ]
  const stream = concat(...packets.map(encodePacket))
  for (let size = 1; size <= stream.length; size++) {
    const reader = new ViciReader()
    const read: ViciPacket[] = []
    for (let at = 0; at < stream.length; at += size) read.push(...reader.push(stream.subarray(at, at + size)))
    t.same(read, packets, `in pieces of ${size}`)
  }
  t.end()
})

test('what is no message or packet is refused', (t) => {
  const bad = {
    'a section that does not end': '010161',
    'an end without a section': '02',
    'a list in a list': '0401610401620606',
    'an item outside of a list': '050001',
    'a value in a list': '04016103016200016306',
    'an unknown element': '07',
    'a value that is cut off': '0301610005',
    'a name that is cut off': '0305',
  }
  for (const [what, bytes] of Object.entries(bad))
    t.equal(decodeMessage(Uint8Array.from(Buffer.from(bytes, 'hex'))), undefined, what)
  t.equal(decodeMessage(new Uint8Array(51).fill(1)), undefined, 'nested without an end')
  t.equal(decodePacket(Uint8Array.from([8])), undefined, 'an unknown type')
  t.equal(decodePacket(new Uint8Array(0)), undefined, 'nothing')
  t.throws(() => new ViciReader().push(Uint8Array.from([0, 8, 0, 1])), { code: 'IPSEC_PROTOCOL' })
  t.throws(() => new ViciReader().push(Uint8Array.from([0, 0, 0, 1, 9])), { code: 'IPSEC_PROTOCOL' })
  t.throws(() => encodeMessage({ ['k'.repeat(256)]: '' }), RangeError)
  t.throws(() => encodeMessage({ key: 'v'.repeat(65_536) }), RangeError)
  t.throws(() => encodeMessage({ key: 'Ā' }), RangeError)
  t.end()
})

function randomSection(random: SeededRandom, depth = 0): ViciSection {
  const word = (): string => String.fromCharCode(...random.bytes(random.below(12)))
  const section: Record<string, ViciSection[string]> = {}
  for (let count = random.below(5); count > 0; count--) {
    const kind = random.below(depth < 4 ? 3 : 2)
    section[`k${word()}`] =
      kind === 0
        ? word()
        : kind === 1
          ? Array.from({ length: random.below(4) }, word)
          : randomSection(random, depth + 1)
  }
  return section
}

test('any message survives; any bytes are refused or mean exactly themselves', (t) => {
  const random = new SeededRandom(20_261_124)
  const wrong: string[] = []
  for (let round = 0; round < 3000; round++) {
    const section = randomSection(random)
    const bytes = encodeMessage(section)
    if (JSON.stringify(decodeMessage(bytes)) !== JSON.stringify(section)) wrong.push(JSON.stringify(section))
    const damaged = Uint8Array.from(bytes)
    for (let hits = random.below(4); hits > 0 && damaged.length > 0; hits--)
      damaged[random.below(damaged.length)] = random.below(8)
    checkWhole(damaged)
    checkWhole(random.bytes(random.below(40)).map((byte) => (byte & 1 ? byte & 7 : byte)))
  }
  t.same(wrong, [])
  t.end()

  /** Names may come twice, of which the last counts; then it is shorter when it is written again. */
  function checkWhole(bytes: Uint8Array): void {
    const section = decodeMessage(bytes)
    if (section === undefined) return
    const again = encodeMessage(section)
    if (again.length > bytes.length) wrong.push(hex(bytes))
    if (JSON.stringify(decodeMessage(again)) !== JSON.stringify(section)) wrong.push(hex(bytes))
  }
})

/** Answers each question with the same packet, in a thread of its own. */
const server = `
const { workerData: { path, answer }, parentPort } = require('node:worker_threads')
const server = require('node:net').createServer((socket) => {
  socket.on('data', () => socket.write(Buffer.from(answer)))
})
server.listen(path, () => parentPort.postMessage('listens'))`

test('silence is what charon does, not what this process misses while it is held up', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-vici-'))
  const path = join(folder, 'vici')
  const answer = encodePacket({ is: 'response', message: {} })
  const worker = new Worker(server, { eval: true, workerData: { path, answer } })
  t.teardown(async () => {
    await worker.terminate()
    rmSync(folder, { recursive: true })
  })
  await once(worker, 'message')
  const deadline = 400
  const vici = await ViciClient.open(path, { deadline })
  const asked = vici.request('version')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, deadline * 2)
  t.same(await asked, {}, 'the answer waits to be read')
  vici.close()

  await worker.terminate()
  const mute = createServer((socket) => void socket.resume()).listen(join(folder, 'mute'))
  t.teardown(() => mute.close())
  await once(mute, 'listening')
  t.ok(
    await ViciClient.open(join(folder, 'mute'), { deadline }).then(
      () => false,
      (error: unknown) => isSilence(error),
    ),
    'who takes the question and says nothing is silent',
  )
})
