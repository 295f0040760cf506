/**
 * Configuration: the order of its sources, and one line for every mistake.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tap, { test } from 'tap'
import { loadConfig } from '../../daemon/config/load.ts'
import { resolveConfig } from '../../daemon/config/resolve.ts'
import { configSchema, nothingSet } from '../../daemon/config/schema.ts'
import { DroverError } from '../../model/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'config-'))
const file = join(folder, 'drover.yaml')

const load = (yaml: string, variables = {}, flags: [string, string][] = []) => {
  writeFileSync(file, yaml)
  return loadConfig({ file, variables, flags: new Map(flags) })
}

const lineOf = (action: () => unknown): string => {
  try {
    action()
  } catch (error) {
    return error instanceof DroverError ? error.line : `not ours: ${error}`
  }
  return 'accepted'
}

test('sources, the last one wins', (t) => {
  t.equal(load('').tunnel.port, 51820)
  t.equal(load('tunnel: {port: 1000}').tunnel.port, 1000)
  t.equal(load('tunnel: {port: 1000}', { DROVER_TUNNEL_PORT: '1001' }).tunnel.port, 1001)
  t.equal(
    load('tunnel: {port: 1000}', { DROVER_TUNNEL_PORT: '1001' }, [['tunnel.port', '1002']]).tunnel.port,
    1002,
  )
  t.strictSame(load('', { DROVER_DNS_UPSTREAMS: '192.0.2.1, 192.0.2.2:54' }).dns.upstreams, [
    '192.0.2.1',
    '192.0.2.2:54',
  ])
  t.equal(load('# only a comment\nhost:\n').environment, 'default', 'an empty group is no mistake')
  t.end()
})

test('every mistake is one line with file, line, key and the way out', (t) => {
  const cases: [string, RegExp][] = [
    ['tunel: {port: 1}', /drover\.yaml:1: unknown key `tunel`, did you mean `tunnel`\?/],
    [
      'log: {}\ntunnel:\n  prt: 1',
      /drover\.yaml:3: unknown key `tunnel\.prt`, did you mean `tunnel\.port`\?/,
    ],
    ['tunnel:\n  port: 70000', /drover\.yaml:2: `tunnel\.port` is 70000: must be 1–65535/],
    ['tunnel: 5', /drover\.yaml:1: `tunnel` must be a map/],
    ['- a\n- b', /must be a map of keys/],
    ['environment: [a', /drover\.yaml:1: /],
    ['environment: Über', /`environment` is "Über": must be a lower-case DNS label/],
    ['dns:\n  upstreams: [192.0.2.1, x]', /`dns\.upstreams` .*must be a list of ADDRESS/],
    ['state: relative', /`state` is "relative": must be an absolute path/],
    ['log:\n  level: loud', /`log\.level` is "loud"/],
  ]
  for (const [yaml, wanted] of cases)
    t.match(
      lineOf(() => load(yaml)),
      wanted,
      yaml,
    )
  t.match(
    lineOf(() => load('', { DROVER_TUNEL_PORT: '1' })),
    /unknown variable DROVER_TUNEL_PORT, did you mean DROVER_TUNNEL_PORT\?/,
  )
  t.equal(
    load('', { DROVER_SKIP_VM: '1', DROVER_TUNNEL_STATE: '/x' }).tunnel.port,
    51820,
    'others are not ours',
  )
  t.match(
    lineOf(() => load('', { DROVER_TUNNEL_PORT: 'x' })),
    /DROVER_TUNNEL_PORT: `tunnel\.port` is "x"/,
  )
  t.match(
    lineOf(() => load('', {}, [['tunnel.mtu', '5']])),
    /--tunnel-mtu: `tunnel\.mtu` is "5": must be 576–9000/,
  )
  t.end()
})

test('the standard file is read where it exists and no other is named', (t) => {
  const standardFile = join(folder, 'standard.yaml')
  const portOf = (file?: string) =>
    loadConfig({ file, standardFile, variables: {}, flags: new Map() }).tunnel.port
  t.equal(portOf(), 51820)
  writeFileSync(standardFile, 'tunnel:\n  port: 4711\n')
  t.equal(portOf(), 4711)
  const other = join(folder, 'other.yaml')
  writeFileSync(other, 'tunnel:\n  port: 4712\n')
  t.equal(portOf(other), 4712)
  const inShop = (flags: ReadonlyMap<string, string>, variables = {}) => {
    const { environment, tunnel } = loadConfig({ standardFile, variables, flags })
    return [environment, tunnel.port]
  }
  const shop = new Map([['environment', 'shop']])
  t.same(inShop(shop), ['shop', 51820], 'another environment does not read it')
  writeFileSync(join(folder, 'standard-shop.yaml'), 'tunnel:\n  port: 4713\n')
  t.same(inShop(shop), ['shop', 4713])
  t.same(inShop(new Map(), { DROVER_ENVIRONMENT: 'shop' }), ['shop', 4713])
  t.same(inShop(new Map([['environment', 'default']])), ['default', 4711])
  t.end()
})

test('files that cannot be read', (t) => {
  t.match(
    lineOf(() => loadConfig({ file: folder, variables: {}, flags: new Map() })),
    /cannot be read: .*EISDIR/,
  )
  t.match(
    lineOf(() => loadConfig({ file: `${file}.none`, variables: {}, flags: new Map() })),
    /cannot be read: .*ENOENT/,
  )
  t.end()
})

test('what is left out is derived so that two environments do not meet', (t) => {
  const machine = { hostname: 'box', address: '192.0.2.9' }
  const first = resolveConfig(configSchema.parse(nothingSet()), machine)
  const second = resolveConfig(
    {
      ...first,
      environment: 'lab',
      state: undefined,
      run: undefined,
      admin: undefined,
      tunnel: { ...first.tunnel, interface: undefined },
    },
    machine,
  )
  t.strictSame(
    [first.state, first.admin, first.tunnel.interface],
    ['/var/lib/drover', '/run/drover/drover.sock', 'drover0'],
  )
  t.strictSame(first.host, { name: 'box', address: '192.0.2.9' })
  t.equal(second.admin, '/run/drover-lab/drover.sock')
  t.not(second.tunnel.interface, first.tunnel.interface)
  t.ok(second.tunnel.interface.length <= 15)
  t.end()
})

tap.teardown(() => rmSync(folder, { recursive: true }))
