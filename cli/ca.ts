/**
 * `drover ca`: the authority of the environment shown, backed up, given to another host, and replaced.
 */
import { Command } from 'commander'
import type { CaView } from '../daemon/trust/ca.ts'
import type { Promoted } from '../daemon/trust/promotion.ts'
import type { Dropped, Rolled } from '../daemon/trust/succession.ts'
import { type Context, clientOf, configured, sourcesOf } from './configured.ts'
import { print, printJson } from './print.ts'
import { table } from './render.ts'

const daemon = () => import('../daemon/main.ts')

export function caCommand(context: Context): Command {
  const commands = [
    showCommand,
    exportCommand,
    importCommand,
    issueCommand,
    promoteCommand,
    rollCommand,
    dropCommand,
  ]
  const command = new Command('ca').description('the authority of the environment')
  for (const made of commands) command.addCommand(made(context))
  return command
}

function showCommand(context: Context): Command {
  const show = configured('show', 'whom this host believes, and who holds the key', context)
  return show.option('--json', 'as JSON').action(async ({ json }: { json?: boolean }) => {
    const { runCaShow } = await daemon()
    const view = await runCaShow(sourcesOf(show, context), await clientOf(show, context))
    if (json) printJson(view)
    else print(caText(view))
    context.code = view.certificate.problem === null ? 0 : 1
  })
}

function exportCommand(context: Context): Command {
  const backup = configured('export', 'write a backup of the CA, with its key', context)
  return backup.argument('<file>').action(async (file: string) => {
    const { runCaExport } = await daemon()
    print(runCaExport(sourcesOf(backup, context), file))
  })
}

function importCommand(context: Context): Command {
  const restore = configured(
    'import',
    'take the key of the CA from a backup: this host can do what it does',
    context,
  )
  return restore.argument('<file>').action(async (file: string) => {
    const { runCaImport } = await daemon()
    print(runCaImport(sourcesOf(restore, context), file))
  })
}

function issueCommand(context: Context): Command {
  const issue = configured('issue', 'write key and certificate for a member of an etcd', context)
  issue.argument('<folder>').requiredOption('--address <list>', 'its IP addresses, by commas')
  return issue.action(async (folder: string, { address }: { address: string }) => {
    const { runCaIssue } = await daemon()
    print(runCaIssue(sourcesOf(issue, context), folder, address.split(',')))
  })
}

function promoteCommand(context: Context): Command {
  const promote = configured(
    'promote',
    'give the key of the CA to another host, which then holds it too',
    context,
  )
  return promote.argument('<host>', 'name or id').action(async (host: string) => {
    const client = await clientOf(promote, context)
    const { name, id } = await client.post<Promoted>('/v1/ca/promote', { host })
    print(`${name} (${id}) holds the key of the CA now, as this host does`)
  })
}

function rollCommand(context: Context): Command {
  const roll = configured('roll', 'make a new CA, which takes the place of the present one', context)
  return roll.action(async () => {
    const client = await clientOf(roll, context)
    const { fingerprint, former, tokens } = await client.post<Rolled>('/v1/ca/roll', {})
    print(`the new CA is ${fingerprint}; everybody believes it beside ${former}`)
    if (tokens > 0)
      print(`${tokens === 1 ? 'one token' : `${tokens} tokens`} ended, which named the former CA`)
    print(
      'next: `drover ca export` a backup, `drover ca promote` other holders, `drover ca issue` for an etcd with this CA',
    )
    print('the former CA goes by itself once nothing needs it; `drover ca show` says what does')
  })
}

function dropCommand(context: Context): Command {
  const drop = configured('drop', 'drop the former CA at once, instead of when nothing needs it', context)
  drop.option('--force', 'although it is needed: what is named in the refusal is cut off')
  return drop.action(async ({ force }: { force?: boolean }) => {
    const client = await clientOf(drop, context)
    const { fingerprint, needs } = await client.post<Dropped>('/v1/ca/drop', { force: force === true })
    print(`dropped ${fingerprint}`)
    for (const need of needs) print(`cut off: ${need}`)
  })
}

function caText({ authorities, certificate, removed, needs, backup }: CaView): string {
  const rows = authorities.map(({ fingerprint, until, held, problem, issues, holders }) => [
    fingerprint,
    issues ? 'issues' : 'former',
    until,
    held ? (problem ?? 'on this host') : 'on another host',
    holders === null ? 'unknown: the daemon does not run' : holders.join(', ') || 'none',
  ])
  return [
    table(['CA', 'ROLE', 'ENDS', 'KEY', 'HOLDERS'], rows),
    `\ncertificate of this host: ${certificate.problem ?? `until ${certificate.until}, renews itself`}`,
    ...(authorities.some(({ held }) => held) ? [`newest backup: ${backupText(authorities, backup)}`] : []),
    ...(needs ?? []).map((need) => `the former CA is still needed: ${need}`),
    ...(removed.length === 0 ? [] : [`removed hosts: ${removed.join(', ')}`]),
  ].join('\n')
}

function backupText(authorities: CaView['authorities'], backup: CaView['backup']): string {
  const how = '`drover ca export FILE` makes one'
  if (backup === null) return `none was made on this host; ${how}`
  const isNewest = authorities.some(({ fingerprint, issues }) => issues && fingerprint === backup.authority)
  return isNewest
    ? backup.at
    : `${backup.at}, of a CA whose place another has taken; ${how} of the present one`
}
