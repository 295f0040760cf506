/**
 * Whether this kernel has what route-based IPsec needs: ESP with AES-GCM, in UDP, and XFRM interfaces. Asked by making
 * both in a network namespace that ends with the question, so that nothing of this machine is changed.
 */
import type { Runner } from '../../linux/run.ts'

/** Empty where it has; else what the kernel said. */
export async function espMissing(runner: Pick<Runner, 'attempt'>): Promise<string> {
  const output = await runner.attempt(['unshare', '--net', 'ip', '-batch', '-'], { input: lines.join('\n') })
  if (output.status === 0) return ''
  return output.stderr.split('\n').find((line) => line.trim() !== '') ?? `status ${output.status}`
}

/** 256 bits of key and the salt of RFC 4106; the namespace has no traffic for it. */
const key = `0x${'00'.repeat(36)}`

const lines = [
  'link set dev lo up',
  `xfrm state add src 127.0.0.1 dst 127.0.0.1 proto esp spi 0x1000 mode tunnel if_id 0x1 flag esn replay-window 32 aead rfc4106(gcm(aes)) ${key} 128 encap espinudp 4500 4500 0.0.0.0`,
  'link add drxprobe type xfrm dev lo if_id 0x1',
  '',
]
