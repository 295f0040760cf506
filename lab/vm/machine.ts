/**
 * A virtual machine over the files of this one: Debian's kernel in QEMU without acceleration, the root file system
 * read-only under a layer in memory, no network. Commands are run in it from here. It ends with `end`, when this
 * process dies, and at its deadline; nothing of what it wrote stays.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { DroverError } from '../../model/errors.ts'
import { type CommandResult, isAlive, tailOf } from '../command.ts'
import { root } from '../layout.ts'
import { initramfs } from './initramfs.ts'
import { type Kernel, kernel, vmFolder } from './kernel.ts'

export interface VmOptions {
  /** systemd is the init, and commands run once multi-user.target is reached. No unit of the machine is enabled. */
  readonly systemd?: boolean
  /** The caller's terminal is /dev/hvc0 inside. */
  readonly terminal?: boolean
  /** MiB. */
  readonly memory?: number
  /** One is fastest on a busy machine: emulated processors wait for each other. */
  readonly processors?: number
  /**
   * While it works its clock counts instructions, a nanosecond each: what else this machine does changes little of
   * what is measured in it. Slower, above all where much is encrypted.
   */
  readonly counted?: boolean
  /** After this many seconds the machine is switched off, whatever it does. */
  readonly seconds?: number
}

const gracePeriod = 5000

/** What Node compiled in earlier machines: from source it takes an emulated processor a minute to load the daemon. */
const compiled = { here: join(vmFolder, 'compiled'), inside: '/run/compiled' }

/** What Node and OpenSSL use of a processor; without AVX, which costs more than it gives when it is emulated. */
const processor = 'qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+aes,+pclmulqdq,+rdrand'

export class Vm {
  /** Shared with the machine, which has it at /run/vm. */
  readonly folder: string
  readonly #process: ChildProcess
  readonly #port: Duplex
  readonly #waiting = new Map<string, (code: number) => void>()
  readonly #gone: Promise<void>
  #jobs = 0
  #off = false

  private constructor(folder: string, process: ChildProcess, port: Duplex) {
    this.folder = folder
    this.#process = process
    this.#port = port
    this.#gone = new Promise((resolve) => {
      process.once('error', () => resolve())
      process.once('close', () => resolve())
    })
    void this.#gone.then(() => {
      this.#off = true
    })
    port.on('error', () => undefined)
    let text = ''
    port.on('data', (chunk: Buffer) => {
      const lines = (text + chunk.toString()).split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) this.#answered(line.trim())
    })
  }

  /** Returns once commands can be run. */
  static async boot(options: VmOptions = {}): Promise<Vm> {
    const found = await kernel()
    sweepRuns()
    const archive = initramfs(found)
    const folder = mkdtempSync(join(vmFolder, `run-${process.pid}-`))
    for (const name of ['agent.sh', 'agent.service', 'plain-init.sh'])
      copyFileSync(join(import.meta.dirname, name), join(folder, name))
    writeFileSync(join(folder, 'initramfs'), archive)
    mkdirSync(compiled.here, { recursive: true })
    const child = spawn('setpriv', commandLine(found, folder, options), {
      stdio: options.terminal
        ? ['inherit', 'inherit', 'inherit', 'pipe']
        : ['ignore', 'ignore', 'pipe', 'pipe'],
    })
    let said = ''
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
    const vm = new Vm(folder, child, child.stdio[3] as Duplex)
    try {
      await vm.#answerOf('ready')
      return vm
    } catch (error) {
      await vm.end()
      throw said === '' ? error : new DroverError('COMMAND_FAILED', `the virtual machine: ${said.trim()}`)
    }
  }

  /** Runs a shell script, whatever its exit code; the folder is that of the clone, whose Node is in PATH. */
  async run(script: string): Promise<CommandResult> {
    this.#jobs += 1
    const job = `job${this.#jobs}`
    const file = (kind: string): string => join(this.folder, `${job}.${kind}`)
    writeFileSync(file('sh'), `${preamble}${script}\n`)
    const answer = this.#answerOf(job)
    this.#port.write(`${job}\n`)
    const code = await answer
    return { code, stdout: readFileSync(file('out'), 'utf8'), stderr: readFileSync(file('err'), 'utf8') }
  }

  /** The trimmed output of a script that must succeed. */
  async must(script: string): Promise<string> {
    const { code, stdout, stderr } = await this.run(script)
    if (code === 0) return stdout.trim()
    throw new DroverError('COMMAND_FAILED', `${script}: exit code ${code}: ${stderr}${stdout}`)
  }

  /** Switches it off and leaves nothing. */
  async end(): Promise<void> {
    this.#port.destroy()
    const kill = setTimeout(() => this.#process.kill('SIGKILL'), gracePeriod)
    await this.#gone
    clearTimeout(kill)
    rmSync(this.folder, { recursive: true, force: true })
  }

  #answered(line: string): void {
    const [job = '', code = '0'] = line.split(' ')
    this.#waiting.get(job)?.(Number(code))
    this.#waiting.delete(job)
  }

  async #answerOf(job: string): Promise<number> {
    const answer = new Promise<number>((resolve) => this.#waiting.set(job, resolve))
    const code = this.#off ? undefined : await Promise.race([answer, this.#gone])
    if (code !== undefined) return code
    const log = tailOf(join(this.folder, 'console.log'))
    throw new DroverError('COMMAND_FAILED', `the virtual machine ended, or came to its deadline${log}`)
  }
}

/** Before every script. */
const preamble = [
  `cd '${root}'`,
  `export PATH="${join(root, 'node_modules', '.bin')}:$PATH" NODE_COMPILE_CACHE=${compiled.inside}\n`,
].join('\n')

/** Folders of machines whose owner died. */
function sweepRuns(): void {
  for (const name of readdirSync(vmFolder)) {
    const owner = /^run-(\d+)-/.exec(name)?.[1]
    if (owner !== undefined && !isAlive(Number(owner)))
      rmSync(join(vmFolder, name), { recursive: true, force: true })
  }
}

/** Arguments of setpriv(1), which ends the machine when this process dies, also while it boots; and of timeout(1). */
function commandLine(kernel: Kernel, folder: string, options: VmOptions): readonly string[] {
  const { memory = 2048, processors = 1, seconds = 300 } = options
  const init = options.systemd ? '/lib/systemd/systemd' : '/run/vm/plain-init.sh'
  const words = [
    'console=ttyS0',
    'loglevel=4',
    'panic=-1',
    'mitigations=off',
    `systemd.setenv=NODE_COMPILE_CACHE=${compiled.inside}`,
    `drover.init=${init}`,
    `drover.modules=${kernel.modules}`,
  ]
  const share = (tag: string, path: string, more: string): readonly string[] => [
    ...['-fsdev', `local,id=${tag},path=${path},security_model=none,multidevs=remap${more}`],
    ...['-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`],
  ]
  const terminal = ['-chardev', 'stdio,id=terminal,signal=off', '-device', 'virtconsole,chardev=terminal']
  return [
    ...['--pdeathsig', 'TERM', 'timeout', ...(options.terminal ? ['--foreground'] : [])],
    ...['--kill-after=5', String(seconds), 'qemu-system-x86_64', '-nodefaults', '-no-user-config'],
    ...(options.counted
      ? ['-accel', 'tcg,thread=single', '-icount', 'shift=0']
      : ['-accel', 'tcg,thread=multi']),
    ...['-machine', 'q35', '-cpu', processor, '-m', String(memory)],
    ...['-smp', String(processors), '-display', 'none', '-nic', 'none', '-no-reboot'],
    ...['-kernel', kernel.image, '-initrd', join(folder, 'initramfs'), '-append', words.join(' ')],
    ...['-serial', `file:${join(folder, 'console.log')}`, '-device', 'virtio-rng-pci'],
    ...share('machine', '/', ',readonly=on'),
    ...share('share', folder, ''),
    ...share('compiled', compiled.here, ''),
    ...['-device', 'virtio-serial-pci', '-chardev', 'socket,id=agent,fd=3'],
    ...['-device', 'virtserialport,chardev=agent,name=agent'],
    ...(options.terminal ? terminal : []),
  ]
}
