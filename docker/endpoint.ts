/**
 * Where the Docker engine listens, decided from configuration and Docker's standard variables. Pure: variables
 * come in as values, certificates go out as paths.
 */
export interface EngineSettings {
  readonly host?: string | undefined
  readonly tls?:
    | {
        readonly ca?: string | undefined
        readonly cert?: string | undefined
        readonly key?: string | undefined
      }
    | undefined
}

/** The variables that Docker's own client reads. */
export interface EngineVariables {
  readonly DOCKER_HOST?: string | undefined
  readonly DOCKER_TLS_VERIFY?: string | undefined
  readonly DOCKER_CERT_PATH?: string | undefined
  readonly HOME?: string | undefined
}

export interface TlsFiles {
  readonly ca: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
}

export type Endpoint =
  | { readonly is: 'socket'; readonly path: string }
  | { readonly is: 'tcp'; readonly host: string; readonly port: number; readonly tls: TlsFiles | undefined }
  | { readonly is: 'unusable'; readonly why: string }

/** The key `docker.host` wins over DOCKER_HOST, `docker.tls` over DOCKER_TLS_VERIFY with DOCKER_CERT_PATH. */
export function engineEndpoint(variables: EngineVariables, settings: EngineSettings = {}): Endpoint {
  const host = settings.host || variables.DOCKER_HOST || 'unix:///var/run/docker.sock'
  if (host.startsWith('/')) return { is: 'socket', path: host }
  if (host.startsWith('unix://')) {
    const path = host.slice('unix://'.length)
    return path.startsWith('/') ? { is: 'socket', path } : unusable(host)
  }
  const tcp = /^(?:(?:tcp|https?):\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s/:[\]]+)(?::(\d{1,5}))?\/?$/.exec(host)
  if (tcp === null || (tcp[2] === undefined && !host.includes('://'))) return unusable(host)
  const tls = tlsOf(variables, settings, host.startsWith('https://'))
  const port = Number(tcp[2] ?? (tls === undefined ? 2375 : 2376))
  if (port < 1 || port > 65535) return unusable(host)
  return { is: 'tcp', host: (tcp[1] ?? '').replace(/^\[|\]$/g, ''), port, tls }
}

const unusable = (host: string): Endpoint => ({
  is: 'unusable',
  why: `"${host}" is neither unix:///path nor tcp://host:port`,
})

function tlsOf(variables: EngineVariables, { tls }: EngineSettings, asked: boolean): TlsFiles | undefined {
  if (tls !== undefined && (tls.ca || tls.cert || tls.key))
    return { ca: tls.ca, cert: tls.cert, key: tls.key }
  if (!variables.DOCKER_TLS_VERIFY)
    return asked ? { ca: undefined, cert: undefined, key: undefined } : undefined
  const folder = variables.DOCKER_CERT_PATH || `${variables.HOME ?? ''}/.docker`
  return { ca: `${folder}/ca.pem`, cert: `${folder}/cert.pem`, key: `${folder}/key.pem` }
}
