// What the templates of this folder publish: services with the label `http.host=NAME`, at the port of the label
// `http.port`, else their lowest exposed TCP port, else 80. Containers that are not running or not healthy get nothing.

const portOf = ({ labels, expose }) => {
  const exposed = expose.filter((port) => port.endsWith('/tcp')).map((port) => Number.parseInt(port, 10))
  return labels['http.port'] ?? (exposed.length === 0 ? 80 : Math.min(...exposed))
}

const isReady = ({ state, health_state: health, primary_ip: address }) =>
  state === 'running' && address !== null && (health === null || health === 'healthy')

/** Each: `name` for configuration files, `host` that clients ask for, `servers` with `name` and `address`. */
export const sitesOf = (services) =>
  services
    .filter(({ labels }) => labels['http.host'] !== undefined)
    .map((service) => ({
      name: `${service.stack_name}_${service.name}`,
      host: service.labels['http.host'],
      servers: (service.containers ?? [])
        .filter(isReady)
        .map(({ name, primary_ip: address }) => ({ name, address: `${address}:${portOf(service)}` })),
    }))
    .filter(({ servers }) => servers.length > 0)
