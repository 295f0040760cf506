/**
 * The log: pino underneath, `Log` above. Text for people (time, level, sentence, fields), JSON for collectors.
 */
import { type Logger, pino } from 'pino'
import type { Log, LogFields } from '../model/ports.ts'

export interface LogOptions {
  readonly level: string
  readonly format: 'json' | 'text'
}

export function createLog(options: LogOptions, write: (line: string) => void): Log {
  const stream = { write: options.format === 'json' ? write : (line: string) => write(textOf(line)) }
  const base = {
    level: options.level,
    base: null,
    messageKey: 'message',
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
  }
  return new PinoLog(pino({ ...base, formatters: { level: (level) => ({ level }) } }, stream))
}

const nothing = (): void => undefined

/** For commands whose answer is all that they say. */
export const silentLog: Log = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  child: () => silentLog,
}

class PinoLog implements Log {
  readonly #pino: Logger

  constructor(logger: Logger) {
    this.#pino = logger
  }

  debug(message: string, fields: LogFields = {}): void {
    this.#pino.debug(fields, message)
  }
  info(message: string, fields: LogFields = {}): void {
    this.#pino.info(fields, message)
  }
  warn(message: string, fields: LogFields = {}): void {
    this.#pino.warn(fields, message)
  }
  error(message: string, fields: LogFields = {}): void {
    this.#pino.error(fields, message)
  }
  child(fields: LogFields): Log {
    return new PinoLog(this.#pino.child(fields))
  }
}

/** `12:34:56.789 warn  sentence  key=value`; the stack of an error of ours follows on its own lines. */
function textOf(line: string): string {
  const { time, level, message, err, ...fields } = JSON.parse(line) as Record<string, unknown>
  const pairs = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const cause = err as { message?: string; stack?: string; code?: string } | undefined
  if (cause?.message !== undefined) pairs.push(`err=${JSON.stringify(cause.message)}`)
  const stack =
    level === 'error' && cause?.code === undefined && cause?.stack !== undefined ? `${cause.stack}\n` : ''
  return `${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${[message, ...pairs].join('  ')}\n${stack}`
}
