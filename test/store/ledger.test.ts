/** SqliteLedger: what is written is there again, whole, and damage is noticed. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { EmbeddedStore } from '../../store/embedded.ts'
import { SqliteLedger } from '../../store/ledger.ts'
import { FakeClock } from '../support/ports.ts'

test('a ledger', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'dt-ledger-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'ledger.sqlite')
  const first = new SqliteLedger({ path })
  t.equal(first.entries().size, 0)
  first.write(
    new Map([
      ['10.42.0.1', 'a'.repeat(64)],
      ['10.42.0.2', 'ü'],
    ]),
  )
  first.write(
    new Map([
      ['10.42.0.1', undefined],
      ['10.42.0.3', 'c'],
    ]),
  )
  t.throws(() => new SqliteLedger({ path }), { code: 'STORE_BUSY' })
  first.close()
  t.throws(() => new EmbeddedStore({ clock: new FakeClock() }, { path }), { code: 'STORE_CORRUPT' })
  const second = new SqliteLedger({ path })
  t.strictSame(
    [...second.entries()],
    [
      ['10.42.0.2', 'ü'],
      ['10.42.0.3', 'c'],
    ],
  )
  const began = performance.now()
  for (let at = 0; at < 200; at++) second.write(new Map([['counter', String(at)]]))
  t.comment(`200 durable writes: ${Math.round(performance.now() - began)} ms`)
  second.close()
  const bytes = readFileSync(path)
  bytes.write('d', bytes.indexOf('10.42.0.3') + '10.42.0.3'.length)
  writeFileSync(path, bytes)
  t.throws(() => new SqliteLedger({ path }), { code: 'STORE_CORRUPT' })
  t.end()
})
