/**
 * WireGuard's cross-platform configuration protocol as a pure codec: lines in, operations out; status in, text
 * out. It knows no socket; a driver feeds what it reads and writes back what `render…` returns.
 */
import type { DeviceChange, DeviceStatus } from './change.ts'

/** Linux errno values as they appear, negated, in answers. */
export const errno = { io: 5, invalid: 22, portInUse: 98, protocol: 71 } as const

/** `bad`: answer with its errno; `broken`: not this protocol at all, close the connection. */
export type UapiOperation =
  | { readonly is: 'get' }
  | { readonly is: 'set'; readonly change: DeviceChange }
  | { readonly is: 'bad'; readonly errno: number }
  | { readonly is: 'broken' }

export interface DriverStatus {
  /** 0 while it is not bound. */
  readonly listenPort: number
  /** 0 for none. */
  readonly fwmark: number
}

/** One per connection. */
export declare class UapiReader {
  /** Takes what was read, in pieces of any size; answers the operations that are complete, in order. */
  push(chunk: Uint8Array): readonly UapiOperation[]
}

/** The whole answer to `get=1`, with its `errno=0`. */
export declare function renderStatus(status: DeviceStatus, driver: DriverStatus): string
/** The whole answer to `set=1`, and to whatever failed. */
export declare function renderErrno(code: number): string
