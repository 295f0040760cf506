/**
 * Our rules in Docker's DOCKER-USER chain. iptables has two backends that do not see each other: the rules go
 * to whichever holds Docker's chains, and to the machine's default one while dockerd has not made any (it then
 * finds the chain and keeps it). Rules are known by their comment, so that a later run finds them.
 */
import type { Nft } from './nft.ts'
import type { Runner } from './run.ts'

export interface Iptables {
  /** Makes these the only rules with this comment, first in the chain; returns whether anything changed. */
  ensure(comment: string, rules: readonly string[]): Promise<boolean>
  /** What stands there now; changes nothing. */
  look(comment: string): Promise<readonly ChainState[]>
  /** Removes every rule with this comment, and the chain where nobody else uses it. */
  remove(comment: string): Promise<void>
}

/** One backend of iptables that has a filter table. */
export interface ChainState {
  readonly program: string
  /** Docker's chains are in it. */
  readonly docker: boolean
  /** FORWARD leads to our chain. */
  readonly reached: boolean
  /** How many rules have the comment. */
  readonly rules: number
}

const chain = 'DOCKER-USER'

interface Backend {
  readonly program: 'iptables-nft' | 'iptables-legacy' | 'iptables'
  /** Its filter table as `-S` says it. */
  readonly lines: readonly string[]
}

export class CommandIptables implements Iptables {
  readonly #runner: Runner
  readonly #nft: Nft

  constructor(deps: { readonly runner: Runner; readonly nft: Nft }, _options: object) {
    this.#runner = deps.runner
    this.#nft = deps.nft
  }

  async ensure(comment: string, rules: readonly string[]): Promise<boolean> {
    const backends = await this.#backends()
    const holders = backends.filter(holdsDocker)
    const chosen = holders.length > 0 ? holders : await this.#default()
    const wanted = rules.map((rule) => `-A ${chain} ${rule} -m comment --comment ${comment} -j ACCEPT`)
    const done = await Promise.all(chosen.map((backend) => this.#converge(backend, comment, wanted)))
    return done.includes(true)
  }

  async look(comment: string): Promise<readonly ChainState[]> {
    return (await this.#backends()).map((backend) => ({
      program: backend.program,
      docker: holdsDocker(backend),
      reached: backend.lines.some((line) => line.startsWith('-A FORWARD ') && line.endsWith(`-j ${chain}`)),
      rules: backend.lines.filter((line) => ours(line, comment)).length,
    }))
  }

  async remove(comment: string): Promise<void> {
    for (const backend of await this.#backends()) {
      if (!backend.lines.includes(`-N ${chain}`)) continue
      await this.#converge(backend, comment, [])
      const users = backend.lines.filter(
        (line) => !ours(line, comment) && line.split(' ').includes(chain) && line !== `-N ${chain}`,
      )
      if (users.length > 0) continue
      await this.#runner.run([backend.program, '-w', '-X', chain])
      if (backend.program !== 'iptables-legacy') await this.#dropEmptyTable()
    }
  }

  async #converge(backend: Backend, comment: string, wanted: readonly string[]): Promise<boolean> {
    const present = backend.lines.filter((line) => ours(line, comment))
    if (present.map(bare).join('\n') === wanted.join('\n')) return false
    const declared = backend.lines.includes(`-N ${chain}`) ? [] : [`:${chain} - [0:0]`]
    const gone = present.map((line) => bare(line).replace('-A', '-D'))
    const fresh = wanted.map((line, at) => line.replace(`-A ${chain}`, `-I ${chain} ${at + 1}`))
    const input = ['*filter', ...declared, ...gone, ...fresh, 'COMMIT', ''].join('\n')
    await this.#runner.run([`${backend.program}-restore`, '-w', '--noflush'], { input })
    return true
  }

  /** Backends that hold a filter table. Asking the legacy one makes its table, so it is asked only if it has one. */
  async #backends(): Promise<readonly Backend[]> {
    const [viaNft, legacyTables] = await Promise.all([
      this.#listed('iptables-nft'),
      this.#runner.attempt(['cat', '/proc/net/ip_tables_names']),
    ])
    const legacy = legacyTables.stdout.split('\n').includes('filter')
      ? await this.#listed('iptables-legacy')
      : []
    return [...viaNft, ...legacy]
  }

  async #listed(program: Backend['program']): Promise<readonly Backend[]> {
    const { status, stdout } = await this.#runner.attempt([program, '-w', '-S'])
    return status === 0 ? [{ program, lines: stdout.trim().split('\n') }] : []
  }

  async #default(): Promise<readonly Backend[]> {
    const { status, stdout } = await this.#runner.attempt(['iptables', '-V'])
    if (status !== 0) return []
    const legacy = !stdout.includes('nf_tables')
    const named = await this.#listed(legacy ? 'iptables-legacy' : 'iptables-nft')
    return named.length > 0 ? named : this.#listed('iptables')
  }

  /** iptables-nft leaves an empty table behind when its last chain goes. */
  async #dropEmptyTable(): Promise<void> {
    const table = await this.#nft.table('ip', 'filter')
    if (table?.chains.length === 0) await this.#nft.apply('delete table ip filter')
  }
}

const holdsDocker = ({ lines }: Backend): boolean => lines.some((line) => /^-N DOCKER\b/.test(line))

const bare = (line: string): string => line.replaceAll('"', '')

const ours = (line: string, comment: string): boolean =>
  line.startsWith(`-A ${chain} `) && bare(line).includes(` --comment ${comment} `)
