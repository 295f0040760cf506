/**
 * Whether this kernel has what route-based IPsec needs: ESP with AES-GCM, in UDP, and XFRM interfaces. Asked by making
 * both in a network namespace that ends with the question, so that nothing of this machine is changed.
 */
import type { Runner } from '../../linux/run.ts'
import { reasonOf } from '../../model/errors.ts'
import { minutes } from '../../model/time.ts'

/** Empty where it has; else what the kernel said. */
export async function espMissing(runner: Pick<Runner, 'attempt'>): Promise<string> {
  const question = ['unshare', '--net', 'ip', '-batch', '-']
  const output = await runner
    .attempt(question, { input: lines.join('\n'), timeout: patience })
    .catch((error: unknown) => ({ status: -1, stderr: reasonOf(error) }))
  if (output.status === 0) return ''
  return output.stderr.split('\n').find((line) => line.trim() !== '') ?? `status ${output.status}`
}

/** The first question has the kernel load and test a dozen modules, on a slow machine for longer than programs get. */
const patience = minutes(1)

/** 256 bits of key and the salt of RFC 4106; the namespace has no traffic for it. */
const key = `0x${'00'.repeat(36)}`

const lines = [
  'link set dev lo up',
  `xfrm state add src 127.0.0.1 dst 127.0.0.1 proto esp spi 0x1000 mode tunnel if_id 0x1 flag esn replay-window 32 aead rfc4106(gcm(aes)) ${key} 128 encap espinudp 4500 4500 0.0.0.0`,
  'link add drxprobe type xfrm dev lo if_id 0x1',
  '',
]
