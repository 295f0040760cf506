/**
 * The subcommands that let machines in and out: `join` on the new one, `token` and `host rm` on the host that
 * holds the CA.
 */
import { Command } from 'commander'
import type { CreatedToken, TokenView } from '../daemon/trust/door.ts'
import type { RemovedHost } from '../daemon/trust/removal.ts'
import { type Context, clientOf, configured, sourcesOf } from './configured.ts'
import { print, printJson } from './print.ts'
import { table } from './render.ts'

const daemon = () => import('../daemon/main.ts')

export function joinCommand(context: Context): Command {
  const command = configured('join', 'enter an environment by a token', context)
  return command.argument('<token>').action(async (token: string) => {
    const { runJoin } = await daemon()
    print(await runJoin(sourcesOf(command, context), token))
  })
}

export function tokenCommand(context: Context): Command {
  return new Command('token')
    .description('what lets other machines in')
    .addCommand(createCommand(context))
    .addCommand(listCommand(context))
    .addCommand(revokeCommand(context))
}

export function hostCommand(context: Context): Command {
  const remove = configured(
    'rm',
    'remove a host: all others drop it, and its certificate is worth nothing',
    context,
  )
  remove.argument('<host>', 'name or id').action(async (host: string) => {
    const client = await clientOf(remove, context)
    const { id, name, records, held } = await client.post<RemovedHost>('/v1/hosts/remove', { host })
    print(`removed ${name} (${id}) and ${records} records of it; on that machine: drover daemon --leave`)
    if (held) print('it held the key of the CA: `drover ca roll` makes what it has worthless')
  })
  return new Command('host').description('the hosts of the environment, one by one').addCommand(remove)
}

function createCommand(context: Context): Command {
  const command = configured('create', 'print the line to paste on another machine', context)
    .option('--ttl <time>', 'how long it is valid, such as 30m, 1h or 7d', '1h')
    .option('--uses <number>', 'how many machines may use it', '1')
    .option('--json', 'as JSON')
  return command.action(async ({ ttl, uses, json }: { ttl: string; uses: string; json?: boolean }) => {
    const client = await clientOf(command, context)
    const made = await client.post<CreatedToken>('/v1/tokens/create', { ttl, uses: Number(uses) })
    if (json) return printJson(made)
    print(`drover join ${made.token}`)
    print(
      `valid until ${made.expiresAt} for ${uses === '1' ? 'one machine' : `${uses} machines`}, ` +
        `which must reach TCP ${made.place} until then; \`drover token revoke ${made.id}\` ends it`,
      'error',
    )
  })
}

function listCommand(context: Context): Command {
  const command = configured('list', 'tokens that are valid', context).option('--json', 'as JSON')
  return command.action(async ({ json }: { json?: boolean }) => {
    const tokens = await (await clientOf(command, context)).get<readonly TokenView[]>('/v1/tokens')
    if (json) return printJson(tokens)
    const rows = tokens.map(({ id, uses, used, createdAt, expiresAt }) => [
      id,
      `${used} of ${uses}`,
      createdAt,
      expiresAt,
    ])
    print(table(['TOKEN', 'USED', 'MADE', 'ENDS'], rows))
  })
}

function revokeCommand(context: Context): Command {
  const command = configured('revoke', 'end a token at once', context)
  return command.argument('<id>').action(async (id: string) => {
    const client = await clientOf(command, context)
    await client.post('/v1/tokens/revoke', { id })
    print(`revoked ${id}`)
  })
}
