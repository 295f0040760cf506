/**
 * Hostile messages over real sockets: a short run of `npm run bench -- dns-fuzz`, which counts a million and the waits.
 */
import { test } from 'tap'
import { fuzz } from '../../bench/dns/fuzz.ts'

test('hostile messages crash nothing and get no more than they ask for', async (t) => {
  const { good, hostile, crashes, tooLarge } = await fuzz({ messages: 20_000, seed: 1 + (Date.now() % 1e6) })
  t.equal(crashes, 0)
  t.strictSame(tooLarge, [])
  for (const { over, sent, answered } of good) t.equal(answered, sent, `${over}: good ones are all answered`)
  for (const { over, sent, answered } of hostile)
    t.ok(
      answered > sent / 2,
      `${over}: ${answered} of ${sent} hostile ones are answered, most of them with an error`,
    )
})
