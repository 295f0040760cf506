/**
 * The questions of ISC's EDNS compliance tester, asked by dig of the real thing: what each must get, by RFC 6891 and
 * the RFCs that it names. The zone is ours, so every answer is ours as well.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type Test, test } from 'tap'
import { type Dns, startDns } from '../../dns/dns.ts'
import { MemoryLog, MemoryMeter } from '../support/ports.ts'
import { realClock } from '../support/real-clock.ts'
import { containerRecordOf, environmentOf, ip } from '../support/snapshots.ts'

const run = promisify(execFile)

async function started(t: Test): Promise<Dns> {
  const dns = await startDns(
    { clock: realClock, log: new MemoryLog(), meter: new MemoryMeter() },
    {
      address: '127.0.0.1',
      port: 0,
      upstreams: [],
      resolvConf: '/nonexistent',
      domain: 'rancher.internal',
      search: 'safe',
    },
  )
  t.teardown(() => dns.close())
  const containers = Array.from({ length: 100 }, (_, at) =>
    containerRecordOf(at + 1, {
      stack: 'shop',
      service: 'web',
      name: `web-${at}`,
      address: ip(`10.42.0.${at + 1}`),
    }),
  )
  dns.apply(environmentOf({ revision: 7, containers }))
  return dns
}

const soa = /^rancher\.internal\.\s+\d+\s+IN\s+SOA\s/m
const opt = /EDNS: version: 0, flags:(?<flags>[^;]*); udp: (?<size>\d+)/
const noError = /status: NOERROR/
const badVersion = /status: BADVERS/
/** An option that nobody knows, as dig shows it when it comes back. */
const unknownOption = /OPT=100|; 100:/

interface Row {
  readonly name: string
  readonly args: readonly string[]
  readonly has: readonly RegExp[]
  readonly hasNot?: readonly RegExp[]
}

/** Names and flags are ISC's; `+nocookie` where dig would send one by itself. */
const rows: readonly Row[] = [
  { name: 'dns', args: ['+noedns'], has: [noError, soa, /flags: qr aa/], hasNot: [/EDNS/] },
  { name: 'ad', args: ['+noedns', '+ad'], has: [noError, soa], hasNot: [/EDNS/, /flags:[^;]* ad/] },
  { name: 'cd', args: ['+noedns', '+cd'], has: [noError, soa], hasNot: [/EDNS/] },
  { name: 'zflag', args: ['+noedns', '+zflag'], has: [noError, soa], hasNot: [/MBZ/, /EDNS/] },
  { name: 'edns0', args: ['+edns=0', '+nocookie'], has: [noError, soa, opt] },
  { name: 'edns1', args: ['+edns=1', '+noednsneg', '+nocookie'], has: [badVersion, opt], hasNot: [soa] },
  { name: 'edns100', args: ['+edns=100', '+noednsneg', '+nocookie'], has: [badVersion, opt], hasNot: [soa] },
  {
    name: 'ednsopt',
    args: ['+edns=0', '+nocookie', '+ednsopt=100'],
    has: [noError, soa, opt],
    hasNot: [unknownOption],
  },
  {
    name: 'edns1opt',
    args: ['+edns=1', '+noednsneg', '+nocookie', '+ednsopt=100'],
    has: [badVersion, opt],
    hasNot: [soa, unknownOption],
  },
  { name: 'do', args: ['+edns=0', '+nocookie', '+dnssec'], has: [noError, soa, /flags: do;/] },
  {
    name: 'docookie',
    args: ['+edns=0', '+dnssec', '+cookie=0102030405060708'],
    has: [noError, soa, /flags: do;/, /COOKIE: 0102030405060708[0-9a-f]{32} \(good\)/],
  },
  {
    name: 'ednsflags',
    args: ['+edns=0', '+nocookie', '+ednsflags=0x0040'],
    has: [noError, soa, opt],
    hasNot: [/MBZ/],
  },
  {
    name: 'edns1flags',
    args: ['+edns=1', '+noednsneg', '+nocookie', '+ednsflags=0x0040'],
    has: [badVersion, opt],
    hasNot: [soa, /MBZ/],
  },
  {
    name: 'optlist',
    args: ['+edns=0', '+nsid', '+subnet=0.0.0.0/0', '+expire', '+cookie=0102030405060708'],
    has: [noError, soa, opt, /COOKIE: .*\(good\)/],
    hasNot: [/CLIENT-SUBNET/],
  },
  {
    name: 'ednstcp',
    args: ['+edns=0', '+nocookie', '+tcp'],
    has: [noError, soa, opt],
    hasNot: [/TCP.KEEPALIVE/],
  },
  {
    name: 'keepalive, RFC 7828',
    args: ['+edns=0', '+nocookie', '+tcp', '+keepalive'],
    has: [noError, soa, opt, /TCP.KEEPALIVE: 10\.0 secs/],
  },
  {
    name: 'keepalive where there is nothing to keep',
    args: ['+edns=0', '+nocookie', '+keepalive'],
    has: [noError, soa, opt],
    hasNot: [/TCP.KEEPALIVE/],
  },
]

/** Of an answer that does not fit: 100 addresses. */
const bigRows: readonly Row[] = [
  {
    name: '512',
    args: ['+noedns', '+ignore'],
    has: [noError, /flags: qr aa tc/, /MSG SIZE\s+rcvd: (\d|[1-4]\d)\d?$/m],
  },
  {
    name: 'edns@512',
    args: ['+edns=0', '+nocookie', '+bufsize=512', '+ignore'],
    has: [noError, opt, /flags: qr aa tc/, /MSG SIZE\s+rcvd: \d{2}$/m],
  },
  {
    name: 'edns@512tcp',
    args: ['+edns=0', '+nocookie', '+bufsize=512', '+tcp'],
    has: [noError, opt, /ANSWER: 100/],
  },
  {
    name: 'edns@4096',
    args: ['+edns=0', '+nocookie', '+bufsize=4096', '+ignore'],
    has: [noError, opt, /ANSWER: 100/],
  },
]

test("ISC's EDNS compliance questions", async (t) => {
  const dns = await started(t)
  const ask = async (question: readonly string[], { name, args, has, hasNot = [] }: Row): Promise<void> => {
    const argv = ['@127.0.0.1', '-p', String(dns.stats().port), '+norec', '+time=5', '+tries=1', ...args]
    const { stdout } = await run('dig', [...argv, ...question])
    for (const pattern of has) t.match(stdout, pattern, name)
    for (const pattern of hasNot) t.notMatch(stdout, pattern, name)
  }
  // Twice: what is compiled by the first question answers the second.
  for (const row of [...rows, ...rows]) await ask(['rancher.internal', 'SOA'], row)
  for (const row of [...bigRows, ...bigRows]) await ask(['web.shop.rancher.internal', 'A'], row)
  const { stdout } = await run('dig', [
    '@127.0.0.1',
    '-p',
    String(dns.stats().port),
    '+opcode=15',
    'a.b',
    'A',
  ])
  t.match(stdout, /status: NOTIMP/, 'opcode')
  const odd = { name: 'type1000', args: ['+noedns'], has: [noError, /AUTHORITY: 1/, /ANSWER: 0/] }
  await ask(['rancher.internal', 'TYPE1000'], odd)
})
