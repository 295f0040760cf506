/**
 * The units as they lie on disk: whatever they run of the installation is there in a clone, and where npm puts the
 * executables of a package. Needs no systemd; how they fare under one is test/lab/vm.test.ts.
 */
import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { root } from '../../lab/layout.ts'

const folder = join(root, 'systemd')
/** Of the package: with `npm install --global --prefix /opt/drover` they are in /opt/drover/bin. */
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly bin: Readonly<Record<string, string>>
}
/** Where units expect the clone or the package. */
const installed = /^\/opt\/drover\/(.+)$/

/** The words of every Exec line, without the prefixes of the program (systemd.service(5)). */
const commandsOf = (unit: string): readonly (readonly string[])[] => {
  const text = readFileSync(join(folder, unit), 'utf8').replaceAll('\\\n', ' ')
  const lines = [...text.matchAll(/^Exec\w+=[-@:+!|]*(\S.*)$/gm)].map(([, line = '']) => line)
  return lines.map((line) => line.split(/\s+/).map((word) => word.replaceAll(/^["']|["']$/g, '')))
}

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function checkCommand(t: Test, unit: string, command: readonly string[]): void {
  for (const [index, word] of command.entries()) {
    const [, name] = installed.exec(word) ?? []
    if (name === undefined) continue
    const path = join(root, name)
    t.ok(statSync(path, { throwIfNoEntry: false })?.isFile(), `${unit}: ${word} is a file`)
    if (index > 0) continue
    t.ok(isExecutable(path), `${unit}: ${word} can be run`)
    t.ok(Object.values(manifest.bin).includes(name), `${unit}: ${word} is an executable of the package`)
  }
}

test('what units run is there in a clone and in a package', (t) => {
  for (const unit of readdirSync(folder)) {
    const commands = commandsOf(unit)
    if (unit.endsWith('.service')) t.ok(commands.length > 0, `${unit} runs something`)
    for (const command of commands) checkCommand(t, unit, command)
  }
  t.end()
})

/** What a template says otherwise than the unit of the environment `default`. */
const instanced: Readonly<Record<string, RegExp>> = {
  drover: /^(Description|Wants|After|ExecStart|ExecReload|RuntimeDirectory|StateDirectory)=|^#/,
  'drover-ipsec': /^(Description|ConditionPathExists|Environment|RuntimeDirectory|StateDirectory)=|^#/,
  'drover-tunnel': /^(Description|ExecStart|ExecReload|Environment)=/,
}

test('templates are their units, but for names', (t) => {
  for (const [name, otherwise] of Object.entries(instanced)) {
    const linesOf = (unit: string) =>
      readFileSync(join(folder, unit), 'utf8')
        .split('\n')
        .filter((line) => !otherwise.test(line))
    t.strictSame(linesOf(`${name}@.service`), linesOf(`${name}.service`), name)
    t.notMatch(readFileSync(join(folder, `${name}@.service`), 'utf8'), /drover0|Directory=drover$/m, name)
  }
  t.end()
})
