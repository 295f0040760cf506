/**
 * What keeps an engine there, so that a backend can configure it: a process (tunnel-process.ts), or a device of
 * the kernel (kernel-device.ts). Both outlive the one who keeps them.
 */
export interface Keeper {
  readonly running: boolean
  /** Calls `up` whenever an engine has come; returns after `close`. */
  run(up: () => void): Promise<void>
  /** Stops watching; the engine lives on. */
  close(): void
}
