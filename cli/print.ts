/**
 * The terminal: answers to standard output, complaints to standard error.
 */
export function print(text: string, to: 'out' | 'error' = 'out'): void {
  const stream = to === 'out' ? process.stdout : process.stderr
  stream.write(`${text}\n`)
}

export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2))
