/**
 * Which CA the newest backup of the key is of, noted beside the key: a new CA makes the backups of the former one worth
 * nothing. What cannot be read tells nothing.
 */
import { join } from 'node:path'
import { DroverError } from '../model/errors.ts'
import { type Instant, instant } from '../model/time.ts'
import { type Damaged, readPrivate, replacePrivate } from './private-file.ts'

export interface BackupNote {
  /** Fingerprint of the CA. */
  readonly authority: string
  readonly at: Instant
}

const damaged: Damaged = (path, why, cause) => new DroverError('STATE_UNUSABLE', `${path}: ${why}`, { cause })

export const backupNoteFile = (folder: string): string => join(folder, 'authority-backup-note.json')

/** Throws where the state folder does not take it. */
export function noteBackup(folder: string, note: BackupNote): void {
  replacePrivate(backupNoteFile(folder), `${JSON.stringify(note)}\n`, damaged)
}

export function backupNote(folder: string): BackupNote | undefined {
  try {
    const { authority, at } = JSON.parse(
      readPrivate(backupNoteFile(folder), damaged) ?? '{}',
    ) as Partial<BackupNote>
    const whole = typeof authority === 'string' && Number.isSafeInteger(at)
    return whole ? { authority, at: instant(at ?? 0) } : undefined
  } catch {
    return undefined
  }
}
