/**
 * What `npm test` reads out of tap's stream, on streams of tap itself.
 */
import { test } from 'tap'
import { failures, TapOutput } from '../../setup/tap-output.mjs'

const stream = `TAP version 14
# Subtest: test/a.test.ts
    # Subtest: one
        ok 1 - should be equal
        1..1
    ok 1 - one # time=2.253ms
    
    ok 2 - two # SKIP needs root
    1..2
ok 1 - test/a.test.ts # time=8.174ms

# Subtest: test/b.test.ts
    not ok 1 - should be equal
      ---
      diff: |
        --- expected
      ...
    1..1
not ok 2 - test/b.test.ts # time=12ms
  ---
  exitCode: 1
  ...

1..2
# { total: 3, pass: 1, fail: 1, skip: 1 }
# time=299.365ms`

test('a verdict per file with what it printed, and the counts', async (t) => {
  const output = new TapOutput()
  const files = stream.split('\n').flatMap((line) => output.read(line) ?? [])
  const last = output.end()
  if (last !== undefined) files.push(last)
  t.match(files, [
    { ok: true, name: 'test/a.test.ts', took: '8.174ms' },
    { ok: false, name: 'test/b.test.ts', took: '12ms' },
  ])
  t.match(failures(files[1]?.lines ?? []).join('\n'), /not ok 1 - should be equal\n.*---\n.*diff/)
  t.match(failures(files[1]?.lines ?? []).join('\n'), 'exitCode: 1')
  t.same(output.counts, { passed: 1, failed: 1, skipped: 1 })
})

test('a stream without a summary has no counts', async (t) => {
  const output = new TapOutput()
  output.read('TAP version 14')
  t.equal(output.counts, undefined)
})
