/**
 * `npm run lab -- up | exec | fault | status | down`: the lab for people. Says what to type next.
 */
import { parseArgs } from 'node:util'
import { DroverError, reasonOf } from '../model/errors.ts'
import { isAlive } from './command.ts'
import * as faults from './faults.ts'
import { type Program, programs } from './host.ts'
import { Lab } from './lab.ts'
import { placeOf } from './layout.ts'
import { type BackendChoice, backends, defaultLab, readRecord, type StoreKind, storeKinds } from './record.ts'
import { soakOf, soaks } from './soak.ts'
import { sweep } from './sweep.ts'
import { vmCommand, vmUsage } from './vm/command.ts'

const usage = `npm run lab -- up --hosts N [--backend auto|ipsec|wireguard] [--store embedded|etcd|etcd3]
npm run lab -- exec hK COMMAND…          in the namespace of a host, with DOCKER_HOST set and drover in PATH
npm run lab -- fault cut hK|store        nothing passes
npm run lab -- fault loss hK PERCENT     a share of the packets is lost, in each direction
npm run lab -- fault delay hK MS         what the host gets is late (kernels with netem)
npm run lab -- fault mtu hK BYTES        larger packets vanish
npm run lab -- fault block hK [PORT…]    UDP ports are blocked: those of IPsec, or others
npm run lab -- fault heal hK|store       ends all of these
npm run lab -- fault kill hK daemon|tunnel|charon|dockerd     (or: kill store MEMBER)   kill -9
npm run lab -- fault restart hK daemon|tunnel|charon|dockerd  (or: restart store MEMBER)
npm run lab -- fault replace hK          gives the work of the daemon to a new process (drover daemon --replace)
npm run lab -- soak cut --times N        a lab of its own, whose second host is cut off for 30 s, N times
npm run lab -- soak kill --times N       a lab of its own, whose daemon is killed and started again, N times
npm run lab -- down
${vmUsage}`

const print = (line: string): void => void process.stdout.write(`${line}\n`)
const misused = (why: string): DroverError => new DroverError('USAGE', `${why}\n${usage}`)

function oneOf<T extends string>(what: string, text: string | undefined, known: readonly T[]): T {
  const found = known.find((word) => word === text)
  if (found === undefined) throw misused(`${what}: ${text ?? 'nothing'} is none of ${known.join(', ')}`)
  return found
}

function numberOf(what: string, text: string | undefined): number {
  const value = Number(text)
  if (text === undefined || !Number.isFinite(value)) throw misused(`${what} must be a number`)
  return value
}

/** `h3` → 3. */
function hostNumber(text: string | undefined): number {
  const found = /^h(\d+)$/.exec(text ?? '')
  if (found === null) throw misused(`${text ?? 'nothing'} is not a host such as h1`)
  return Number(found[1])
}

async function up(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { hosts: { type: 'string' }, backend: { type: 'string' }, store: { type: 'string' } },
  })
  if (lives()) throw misused('a lab is up already; `npm run lab -- down` ends it')
  const hosts = numberOf('--hosts', values.hosts ?? '2')
  const backend: BackendChoice = oneOf('--backend', values.backend ?? 'auto', backends)
  const store: StoreKind = oneOf('--store', values.store ?? (hosts === 1 ? 'embedded' : 'etcd'), storeKinds)
  const lab = await Lab.up({ hosts, backend, store, say: print })
  print(whatNext(lab))
  return 0
}

/** Whether a lab runs; one that crashed is swept by the next `up`. */
function lives(): boolean {
  try {
    return readRecord(defaultLab).hosts.some(({ pids }) => pids.dockerd > 0 && isAlive(pids.dockerd))
  } catch {
    return false
  }
}

function whatNext(lab: Lab): string {
  const { hosts, image } = lab.record
  const labels = '--label io.rancher.container.network=true --label io.rancher.stack.name=shop'
  const page = `sh -c 'hostname >/tmp/index.html; httpd -f -h /tmp'`
  const web = (name: string): string =>
    `  npm run lab -- exec ${name} docker run -d --name web-${name} ${labels} --label io.rancher.stack_service.name=shop/web ${image} ${page}`
  const last = hosts.at(-1)?.name ?? 'h1'
  const servers = hosts.length > 1 ? hosts.slice(0, -1) : hosts
  const table = hosts.map(
    ({ name, namespace, underlay, managed, docker }) =>
      `  ${name}  namespace ${namespace}  underlay ${underlay}  managed ${managed}  ${docker}`,
  )
  return [
    `\nThe lab is up (${lab.place.record}):`,
    ...table,
    '\nA web server on each host but the last, and a client that finds them by name:',
    ...servers.map(({ name }) => web(name)),
    `  npm run lab -- exec ${last} docker run -d --name client ${labels} ${image} sleep 86400`,
    `  npm run lab -- exec ${last} docker exec client wget -qO- http://web.shop.rancher.internal`,
    `  npm run lab -- exec ${last} docker exec client wget -qO- http://rancher-metadata/latest/self/container/primary_ip`,
    '\nWhat Drover says of it:',
    `  npm run lab -- exec h1 drover status`,
    `  npm run lab -- exec h1 drover ps`,
    '\nThe end:',
    '  npm run lab -- down',
  ].join('\n')
}

const networkFaults: Readonly<Record<string, (port: string, rest: readonly string[]) => Promise<void>>> = {
  cut: (port) => faults.cut(placeOf(defaultLab), port),
  heal: (port) => faults.heal(placeOf(defaultLab), port),
  loss: (port, [percent]) => faults.lose(placeOf(defaultLab), port, numberOf('the share', percent)),
  delay: (port, [time]) => faults.delayPackets(placeOf(defaultLab), port, numberOf('the delay', time)),
  mtu: (port, [size]) => faults.shrink(placeOf(defaultLab), port, numberOf('the size', size)),
  block: (port, ports) =>
    faults.block(
      placeOf(defaultLab),
      port,
      ports.length === 0 ? faults.ipsecPorts : ports.map((text) => numberOf('a port', text)),
    ),
}

async function fault([kind = '', target, ...rest]: readonly string[]): Promise<number> {
  const lab = Lab.open()
  const network = networkFaults[kind]
  if (network !== undefined) {
    if (target !== 'store') lab.host(hostNumber(target))
    await network(target ?? '', rest)
    return 0
  }
  if (kind === 'replace') {
    await lab.host(hostNumber(target)).replaceDaemon()
    return 0
  }
  if (kind !== 'kill' && kind !== 'restart')
    throw misused(`fault: ${kind || 'nothing'} is none of those below`)
  if (target === 'store') {
    const member = rest[0] === undefined ? 1 : numberOf('the member', rest[0])
    await lab.killMember(member)
    if (kind === 'restart') await lab.startMember(member)
    return 0
  }
  const host = lab.host(hostNumber(target))
  const program: Program = oneOf('the program', rest[0], programs)
  if (kind === 'kill') await host.kill(program)
  else await host.restart(program)
  return 0
}

async function exec([target, ...argv]: readonly string[]): Promise<number> {
  const host = Lab.open().host(hostNumber(target))
  if (argv.length === 0) throw misused('exec: which command?')
  return host.attach(argv)
}

/** Exit code 1 when some round took longer than it may. */
async function soak([kind = '', ...args]: readonly string[]): Promise<number> {
  const chosen = Object.hasOwn(soaks, kind) ? soaks[kind] : undefined
  if (chosen === undefined)
    throw misused(`soak: ${kind || 'nothing'} is not ${Object.keys(soaks).join(' or ')}`)
  const { values } = parseArgs({ args: [...args], options: { times: { type: 'string', default: '3' } } })
  return soakOf(chosen, numberOf('--times', values.times), print)
}

async function down(): Promise<number> {
  await sweep(placeOf(defaultLab))
  return 0
}

const commands: Readonly<Record<string, (args: readonly string[]) => Promise<number>>> = {
  up,
  exec,
  fault,
  soak,
  down,
  vm: vmCommand,
}

async function main([name = '', ...args]: readonly string[]): Promise<number> {
  const command = commands[name]
  if (command === undefined) throw misused('which command?')
  return command(args)
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  const line = error instanceof DroverError ? error.message : reasonOf(error)
  process.stderr.write(`drover lab: ${line}\n`)
  return 2
})
