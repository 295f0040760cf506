/**
 * The one schema of the configuration: file, `DROVER_…` variables and flags are read by it. Every leaf carries
 * its line of documentation, which docs/configuration.md repeats and a test compares.
 */
import { z } from 'zod'
import { type Cidr, isIpAddress, parseCidr } from '../../model/ip.ts'
import { dnsLabel } from '../../model/names.ts'
import { minutes, parseDuration } from '../../model/time.ts'

const text = (what: string) => z.string().min(1, `must be ${what}`)
const path = z.string().regex(/^\//, 'must be an absolute path')
const optionalPath = path.optional()
const port = z.coerce
  .number('must be a port')
  .int('must be a port')
  .min(1, 'must be 1–65535')
  .max(65535, 'must be 1–65535')
const address = z.string().refine(isIpAddress, 'must be an IP address')
const upstream = z
  .string()
  .refine((value) => isIpAddress(value.replace(/:\d+$/, '')), 'must be a list of ADDRESS or ADDRESS:PORT')
const network = z.string().transform((value, context): Cidr => {
  const cidr = parseCidr(value.includes('/') ? value : `${value}/32`)
  if (cidr !== undefined) return cidr
  context.addIssue('must be a list of IPv4 ADDRESS or NETWORK/BITS')
  return z.NEVER
})
const list = <T extends z.ZodType>(item: T) =>
  z.preprocess(
    (value) => (typeof value === 'string' ? value.split(',').map((part) => part.trim()) : value),
    z.array(item),
  )
const label = z.string().refine((value) => dnsLabel(value) === value, 'must be a lower-case DNS label')
const interfaceName = z
  .string()
  .regex(/^[a-zA-Z0-9_.-]{1,15}$/, 'must be an interface name of at most 15 characters')

const tls = (whose: string) => ({
  ca: optionalPath.describe(`CA certificate for ${whose}, PEM.`),
  cert: optionalPath.describe(`Client certificate for ${whose}, PEM.`),
  key: optionalPath.describe(`Key of the client certificate for ${whose}, PEM.`),
})

export const configSchema = z.object({
  environment: label.default('default').describe('Environment that this daemon serves.'),
  state: optionalPath.describe(
    'Folder for identity, keys, journal and last snapshot. /var/lib/drover, or /var/lib/drover-ENVIRONMENT for another environment than `default`.',
  ),
  run: optionalPath.describe('Folder for sockets. /run/drover, or /run/drover-ENVIRONMENT.'),
  admin: optionalPath.describe('Socket of the admin API. RUN/drover.sock.'),
  host: z.object({
    name: text('a name')
      .optional()
      .describe("Name of this host in the environment. The machine's host name."),
    address: address
      .optional()
      .describe('Address at which other hosts reach this one. The source address of the default route.'),
  }),
  store: z.object({
    url: text('embedded or etcd://HOST:PORT,…')
      .optional()
      .describe('Where the shared truth is. What `drover init` was told; else `embedded`.'),
    ...tls('etcd'),
    user: text('a name').optional().describe('etcd user.'),
    password: text('a password').optional().describe('Password of the etcd user.'),
  }),
  docker: z.object({
    host: text('unix:///PATH or tcp://HOST:PORT')
      .optional()
      .describe('Docker Engine to watch. DOCKER_HOST, else unix:///var/run/docker.sock.'),
    ...tls('the engine'),
  }),
  tunnel: z.object({
    backend: z
      .enum(['auto', 'ipsec', 'wireguard'])
      .default('auto')
      .describe(
        'How packets travel to other hosts. auto: by IPsec where both kernels have it, else by WireGuard. ipsec: also where charon has to encrypt itself. Whatever carries nothing is replaced by the other; wireguard: never by IPsec.',
      ),
    engine: z
      .enum(['auto', 'kernel', 'userspace'])
      .default('auto')
      .describe(
        "Who runs WireGuard's protocol: the kernel, or Drover in userspace. auto: the kernel where it can, decided when the daemon starts.",
      ),
    interface: interfaceName
      .optional()
      .describe('Name of the tunnel device. drover0, or one derived from the environment.'),
    port: port.default(51820).describe('UDP port of the WireGuard backend.'),
    ipsecPort: port.default(4500).describe('UDP port of the IPsec backend, for IKE and ESP.'),
    sockets: path.default('/var/run/wireguard').describe("Folder of the tunnel's UAPI socket."),
    presharedKeys: z
      .string()
      .refine(
        (value) => value === 'off' || (parseDuration(value) ?? 0) >= minutes(1),
        'must be `off`, or how long one is used, at least a minute: 30m, 1d',
      )
      .default('off')
      .describe(
        'Whether WireGuard also uses a preshared key per pair of hosts: `off`, or how long one is used, such as `1d`. Used between hosts that both want it.',
      ),
    mtu: z.coerce
      .number('must be a number')
      .int()
      .min(576, 'must be 576–9000')
      .max(9000, 'must be 576–9000')
      .default(1420)
      .describe("MTU of the tunnel and of containers' managed interfaces, bytes."),
  }),
  dns: z.object({
    port: port
      .default(10053)
      .describe('Port of the DNS server on 169.254.169.250; packets to port 53 are sent to it.'),
    upstreams: list(upstream)
      .default([])
      .describe('Resolvers for names that are not ours. The nameservers of dns.resolvConf.'),
    resolvConf: path.default('/etc/resolv.conf').describe("File that names the host's resolvers."),
    search: z
      .enum(['always', 'safe', 'never'])
      .default('safe')
      .describe('Whether the server itself completes short names.'),
    lastResort: z
      .enum(['running', 'none'])
      .default('running')
      .describe(
        'What a service gives of which no container is healthy and reachable: all that run, or no address.',
      ),
  }),
  metadata: z.object({
    port: port
      .default(10080)
      .describe('Port of the metadata server on 169.254.169.250; packets to port 80 are sent to it.'),
    connections: z.coerce
      .number('must be a number')
      .int()
      .min(1, 'must be at least 1')
      .default(256)
      .describe('Connections, and waiting long polls, that one client address may have at once.'),
    trustedProxies: list(network)
      .default([])
      .describe('Addresses or networks of proxies whose X-Forwarded-For says who asks; else it is ignored.'),
    scope: z
      .enum(['environment', 'stack'])
      .default('environment')
      .describe(
        'What a container sees: the containers, services and stacks of the environment, or of its own stack.',
      ),
  }),
  join: z.object({
    port: port
      .default(51819)
      .describe('TCP port at which this host lets others in; open only while a token is valid.'),
  }),
  ca: z.object({
    passphrase: text('a passphrase')
      .optional()
      .describe("Passphrase of the CA's key, on the host that holds it."),
  }),
  log: z.object({
    level: z
      .enum(['debug', 'info', 'warn', 'error', 'silent'])
      .default('info')
      .describe('Least severe line to print.'),
    format: z
      .enum(['auto', 'json', 'text'])
      .default('auto')
      .describe('`text` for people, `json` for collectors; auto: text on a terminal.'),
  }),
})

/** The configuration as it is written: what is left out is derived by `resolveConfig`. */
export type ConfigInput = z.output<typeof configSchema>

/** Input of the schema in which nothing is set: its groups, empty. */
export const nothingSet = (): Record<string, object> =>
  Object.fromEntries(
    Object.entries(configSchema.shape).flatMap(([name, inner]) =>
      inner instanceof z.ZodObject ? [[name, {}]] : [],
    ),
  )

export interface ConfigKey {
  /** Dotted, as in docs/configuration.md. */
  readonly key: string
  /** `DROVER_TUNNEL_PORT` for `tunnel.port`. */
  readonly variable: string
  /** `--tunnel-port` for `tunnel.port`. */
  readonly flag: string
  readonly doc: string
  readonly fallback: unknown
}

const kebab = (key: string): string => key.replace(/\./g, '-').replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)

function leaves(schema: z.ZodType, prefix: string): ConfigKey[] {
  if (schema instanceof z.ZodObject) {
    return Object.entries(schema.shape).flatMap(([name, inner]) =>
      leaves(inner as z.ZodType, prefix === '' ? name : `${prefix}.${name}`),
    )
  }
  const fallback = schema instanceof z.ZodDefault ? schema.def.defaultValue : undefined
  const flag = kebab(prefix)
  return [
    {
      key: prefix,
      variable: `DROVER_${flag.replace(/-/g, '_').toUpperCase()}`,
      flag: `--${flag}`,
      doc: schema.description ?? '',
      fallback,
    },
  ]
}

/** Every leaf of the schema, in its order. */
export const configKeys: readonly ConfigKey[] = leaves(configSchema, '')
