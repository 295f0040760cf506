/**
 * The highest rate that passes a trial: halves from the top until one passes, then halves what lies between that
 * and the last that did not. Pure; the trial may be noisy.
 */

/** How often the octave is halved: to 1/32 of the rate. */
const steps = 5
/** The search for an octave ends so many below the top. */
const octaves = 8

/** `trial` answers the rate that was really kept, or undefined where it did not pass. 0 when none passes. */
export async function highestPassing(
  most: number,
  trial: (rate: number) => Promise<number | undefined>,
): Promise<number> {
  let low = most
  let best = await trial(low)
  for (let octave = 0; octave < octaves && best === undefined; octave++) {
    low /= 2
    best = await trial(low)
  }
  if (best === undefined || low === most) return best ?? 0
  let high = low * 2
  for (let step = 0; step < steps; step++) {
    const rate = (low + high) / 2
    const kept = await trial(rate)
    if (kept === undefined) high = rate
    else {
      low = rate
      best = Math.max(best, kept)
    }
  }
  return best
}
