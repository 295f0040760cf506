// A file for Traefik's file provider (versions 2 and 3); JSON is YAML.
import { sitesOf } from './sites.mjs'

const router = ({ name, host }) => [name, { rule: `Host(\`${host}\`)`, service: name }]

const service = ({ name, servers }) => {
  const urls = servers.map(({ address }) => ({ url: `http://${address}` }))
  return [name, { loadBalancer: { servers: urls } }]
}

export const render = (services) => {
  const sites = sitesOf(services)
  const http = {
    routers: Object.fromEntries(sites.map(router)),
    services: Object.fromEntries(sites.map(service)),
  }
  return `${JSON.stringify(sites.length === 0 ? {} : { http }, undefined, 2)}\n`
}
