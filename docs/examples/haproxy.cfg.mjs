// haproxy.cfg: one backend for each site, checked by HAProxy itself as well.
import { sitesOf } from './sites.mjs'

const head = `global
  maxconn 4000

defaults
  mode http
  timeout connect 2s
  timeout client 1m
  timeout server 1m
  option redispatch

frontend http
  bind :8080
`

const rule = ({ name, host }) => `  use_backend ${name} if { req.hdr(host),field(1,:) -i ${host} }\n`

const backend = ({ name, servers }) =>
  `\nbackend ${name}\n${servers.map((server) => `  server ${server.name} ${server.address} check\n`).join('')}`

export const render = (services) => {
  const sites = sitesOf(services)
  return [head, ...sites.map(rule), ...sites.map(backend)].join('')
}
