/**
 * Whether this kernel carries packets by IPsec, found out by doing it: an XFRM interface and an ESP state in UDP,
 * with the cipher that Drover uses, in a network namespace that is gone with the process. What modules it takes, the
 * kernel loads.
 */
import { reasonOf } from '../model/errors.ts'
import type { Runner } from './run.ts'

/** AES-256 and four bytes of salt (RFC 4106 8.1). */
const key = `0x${'5a'.repeat(36)}`
const interfaceLine = 'link add dev xfrm0 type xfrm dev lo if_id 1'
const stateLine = `xfrm state add src 127.0.0.1 dst 127.0.0.2 proto esp spi 0x1000 mode tunnel if_id 1 aead rfc4106(gcm(aes)) ${key} 128 encap espinudp 4500 4500 0.0.0.0`

/** A clause for people: why it does not; empty where it does. */
export async function espTrouble(runner: Runner): Promise<string> {
  const argv = ['unshare', '--net', 'ip', '-batch', '-']
  const output = await runner
    .attempt(argv, { input: `${interfaceLine}\n${stateLine}\n` })
    .catch((thrown: unknown) => ({ status: -1, stderr: reasonOf(thrown) }))
  if (output.status === 0) return ''
  if (output.stderr.includes('Command failed -:1')) return 'the kernel has no XFRM interfaces'
  if (output.stderr.includes('Command failed -:2')) return 'the kernel has no ESP with AES-GCM'
  return `whether the kernel has ESP could not be found out: ${output.stderr.trim().split('\n')[0]}`
}
