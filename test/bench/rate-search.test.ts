/**
 * The search for the highest rate: near the limit of a perfect tunnel wherever it lies, with few trials.
 */
import t from 'tap'
import { highestPassing } from '../../bench/rate-search.ts'

/** Passes up to `limit`; the sender keeps a little less than it was asked for. */
const tunnel = (limit: number) => {
  const tried: number[] = []
  const trial = async (rate: number): Promise<number | undefined> => {
    tried.push(rate)
    return rate <= limit ? rate * 0.99 : undefined
  }
  return { tried, trial }
}

t.test('it finds a limit anywhere below the top, to one in sixteen', async (t) => {
  for (let limit = 1.1; limit < 250; limit *= 1.07) {
    const { tried, trial } = tunnel(limit)
    const found = await highestPassing(250, trial)
    t.ok(found <= limit && found > limit * 0.92, `${found} of ${limit}`)
    t.ok(tried.length <= 14, `${tried.length} trials`)
  }
})

t.test('one trial where the top passes', async (t) => {
  const { tried, trial } = tunnel(1000)
  t.equal(await highestPassing(250, trial), 247.5)
  t.same(tried, [250])
})

t.test('nothing where nothing passes', async (t) => {
  t.equal(await highestPassing(250, tunnel(0).trial), 0)
})
