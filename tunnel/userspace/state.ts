/**
 * What a tunnel must know to come back by itself after kill -9: its key, port and peers, as the UAPI lines that
 * set them, in a file of mode 0600 that is replaced as a whole.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { factPrefix } from '../engine-facts.ts'
import type { DeviceChange } from '../wireguard/change.ts'
import { marksKey, UapiReader } from '../wireguard/uapi.ts'

/** Lines of an answer to `get=1` that `set=1` does not take. */
const readOnly = new Set([
  'errno',
  'protocol_version',
  'last_handshake_time_sec',
  'last_handshake_time_nsec',
  'tx_bytes',
  'rx_bytes',
])

const isSetting = (key: string): boolean =>
  !readOnly.has(key) && (!key.startsWith(factPrefix) || key === marksKey)

/** The settings in an answer to `get=1`. */
export function settingsIn(answer: string): string {
  const lines = answer.split('\n').filter((line) => line !== '' && isSetting(line.split('=')[0] ?? ''))
  return `${lines.join('\n')}\n`
}

export class StateFile {
  readonly #path: string
  #written = ''

  constructor(path: string) {
    this.#path = path
  }

  /** What was there; undefined when there is nothing usable. */
  read(): DeviceChange | undefined {
    let text: string
    try {
      text = readFileSync(this.#path, 'utf8')
    } catch {
      return undefined
    }
    const [operation] = new UapiReader().push(Buffer.from(`set=1\nreplace_peers=true\n${text}\n`))
    return operation?.is === 'set' ? operation.change : undefined
  }

  /** Keeps settings on disk; does nothing where they are the same. */
  write(settings: string): void {
    if (settings === this.#written) return
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 })
    const fresh = `${this.#path}.new`
    const fd = openSync(fresh, 'w', 0o600)
    try {
      writeSync(fd, settings)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(fresh, this.#path)
    this.#written = settings
  }
}
