/**
 * The subcommands about names: `dns explain` and `dns log`.
 */
import { Command } from 'commander'
import type { AskedView } from '../daemon/dns-admin.ts'
import type { Explained } from '../model/explained.ts'
import { type Context, clientOf, configured } from './configured.ts'
import { print, printJson } from './print.ts'
import { explainedText } from './render.ts'

export const dnsCommand = (context: Context): Command =>
  new Command('dns')
    .description('names and their answers')
    .addCommand(explainCommand(context))
    .addCommand(logCommand(context))

function explainCommand(context: Context): Command {
  const explain = configured('explain', 'why a name gets the answer it gets', context)
  return explain
    .argument('<name>')
    .option('--from <container>', 'who asks: name, id or address of a container of this host')
    .option('--json', 'as JSON')
    .action(async (name: string, { from, json }: { from?: string; json?: boolean }) => {
      const query = new URLSearchParams({ name, ...(from === undefined ? {} : { from }) })
      const client = await clientOf(explain, context)
      const value = await client.get<Explained>(`/v1/dns/explain?${query}`)
      if (json) printJson(value)
      else print(explainedText(value))
    })
}

function logCommand(context: Context): Command {
  const log = configured('log', 'the questions of one container as they come, until Ctrl-C', context)
  return log
    .argument('<container>', 'name, id or address of a container of this host')
    .option('--json', 'one JSON object per line')
    .action(async (container: string, { json }: { json?: boolean }) => {
      const client = await clientOf(log, context)
      await client.follow<AskedView>(`/v1/dns/log?${new URLSearchParams({ container })}`, (asked) =>
        print(json ? JSON.stringify(asked) : askedText(asked)),
      )
    })
}

function askedText({ at, name, type, transport, result, rcode, answers, took, missed }: AskedView): string {
  const skipped = missed === 0 ? '' : ` (${missed} more before it)`
  const time = at.slice(11, 23)
  return `${time}  ${type} ${name}  ${transport}  ${result}  ${rcode} ${answers.join(' ')}  ${took.toFixed(1)} ms${skipped}`
}
