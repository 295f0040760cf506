/**
 * What the objects of the contract look like, as JSON Schema 2020-12: the one source of the OpenAPI document
 * (openapi.ts), of the types of the client (client/objects.ts is written from it) and of the checks on answers.
 * Says what Rancher's own service answers as well, so that one client can read both. Shapes only grow.
 */
export type Schema = Readonly<Record<string, unknown>>

export interface Shape {
  readonly description: string
  readonly properties: Readonly<Record<string, Schema>>
  /** Keys that some versions of the contract, or some objects, do not have. */
  readonly optional?: readonly string[]
}

const text = (description: string): Schema => ({ type: 'string', description })
const textOrNull = (description: string): Schema => ({ type: ['string', 'null'], description })
const whole = (description: string): Schema => ({ type: 'integer', description })
const wholeOrNull = (description: string): Schema => ({ type: ['integer', 'null'], description })
const flag = (description: string): Schema => ({ type: 'boolean', description })
const oneOf = (values: readonly (string | null)[], description: string): Schema => ({
  enum: values,
  description,
})
const texts = (description: string): Schema => ({ type: 'array', items: { type: 'string' }, description })
const textsOrNull = (description: string): Schema => ({ ...texts(description), type: ['array', 'null'] })
const map = (description: string): Schema => ({
  type: 'object',
  additionalProperties: { type: 'string' },
  description,
})
const mapOrNull = (description: string): Schema => ({ ...map(description), type: ['object', 'null'] })
const anything = (description: string): Schema => ({
  type: 'object',
  additionalProperties: true,
  description,
})
const anythingOrNull = (description: string): Schema => ({
  ...anything(description),
  type: ['object', 'null'],
})

export const refTo = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` })
const one = (name: string, description: string): Schema => ({ ...refTo(name), description })
const list = (name: string, description: string): Schema => ({
  type: 'array',
  items: refTo(name),
  description,
})
const listOrNull = (name: string, description: string): Schema => ({
  ...list(name, description),
  type: ['array', 'null'],
})

const kind = (name: string): Schema => ({ const: name, description: 'The kind of the object.' })
const uuid = text('UUID; paths take it in place of the name.')
const environmentUuid = text('UUID of the environment.')

const container: Shape = {
  description: 'A container, also a stopped one.',
  optional: ['service_uuid'],
  properties: {
    create_index: wholeOrNull('Number within the service; null outside of services.'),
    dns: texts('Name servers.'),
    dns_search: texts('Search domains.'),
    environment_uuid: environmentUuid,
    external_id: text("Docker's id, 64 digits."),
    health_check: { anyOf: [refTo('HealthCheck'), { type: 'null' }], description: "Rancher's health check." },
    health_check_hosts: texts('UUIDs of the hosts that check its health.'),
    health_state: oneOf(
      [
        null,
        'healthy',
        'unhealthy',
        'initializing',
        'reinitializing',
        'updating-healthy',
        'updating-unhealthy',
      ],
      'Null where nobody checks.',
    ),
    host_uuid: text('UUID of the host that it is on.'),
    hostname: text('Its own host name.'),
    ips: texts('Its managed addresses.'),
    labels: map("Docker's labels."),
    links: mapOrNull('Link name → UUID of the container.'),
    memory_reservation: wholeOrNull('Bytes.'),
    metadata_kind: kind('container'),
    milli_cpu_reservation: wholeOrNull('Thousandths of a processor.'),
    name: text('In lower case from 2016-07-29 on.'),
    network_from_container_uuid: textOrNull('UUID of the container whose network it shares.'),
    network_uuid: textOrNull('UUID of its network; null without a managed address.'),
    ports: textsOrNull('Published ports as `address:public:private/protocol`.'),
    primary_ip: textOrNull('Its managed address.'),
    primary_mac_address: textOrNull('MAC of the managed address.'),
    service_index: textOrNull('Number within the service, as text.'),
    service_name: textOrNull("Its service; a sidekick's own name for a sidekick."),
    service_uuid: text('UUID of its service.'),
    stack_name: textOrNull('Its stack.'),
    stack_uuid: textOrNull('UUID of its stack.'),
    start_count: whole('How often it was started.'),
    state: oneOf(
      ['running', 'stopped', 'restarting', 'starting', 'stopping', 'removed'],
      'Paused ones count as running.',
    ),
    system: flag('Whether it belongs to the infrastructure.'),
    uuid,
  },
}

const service: Shape = {
  description: 'A service: what shares stack and service name. A sidekick has an object of its own.',
  properties: {
    containers: listOrNull('Container', 'By number; null for none.'),
    create_index: wholeOrNull('The highest number of its containers.'),
    environment_uuid: environmentUuid,
    expose: texts('Exposed ports as `private/protocol`.'),
    external_ips: texts('Addresses of an external service.'),
    fqdn: textOrNull('External name.'),
    health_check: { anyOf: [refTo('HealthCheck'), { type: 'null' }], description: "Rancher's health check." },
    hostname: textOrNull('Host name of an external service.'),
    kind: text('`service`, `externalService`, `dnsService` (an alias), `loadBalancerService`, …'),
    labels: map('Labels on which all its containers agree, and declared ones.'),
    lb_config: anythingOrNull("Rancher's load balancer."),
    links: mapOrNull('`stack/service` → alias.'),
    metadata: anything('What people declared for readers of the metadata service.'),
    metadata_kind: kind('service'),
    name: text('In lower case from 2016-07-29 on.'),
    ports: texts('Published ports as `public:private/protocol`.'),
    primary_service_name: text("The unit's primary service."),
    scale: whole('How many containers are wanted.'),
    sidekicks: textsOrNull("Names of the unit's sidekicks."),
    stack_name: text('Its stack.'),
    stack_uuid: text('UUID of its stack.'),
    state: text('`active` in Drover.'),
    system: flag('Whether all its containers belong to the infrastructure.'),
    token: textOrNull("Credential for Rancher's API."),
    uuid,
    vip: textOrNull('Virtual address.'),
  },
}

const stack: Shape = {
  description: 'A stack: services that belong together.',
  properties: {
    environment_name: text('Name of the environment, in lower case.'),
    environment_uuid: environmentUuid,
    metadata_kind: kind('stack'),
    name: text('In lower case from 2016-07-29 on.'),
    services: list('Service', "By the primary's name, then by their own."),
    system: flag('Whether all its containers belong to the infrastructure.'),
    uuid,
  },
}

const host: Shape = {
  description: 'A machine with containers.',
  optional: ['hostId'],
  properties: {
    agent_ip: text('Where other hosts reach it.'),
    agent_state: text('`active`, or `disconnected` while its containers do not count.'),
    environment_uuid: environmentUuid,
    hostId: whole('A number; not in 2016-07-29.'),
    hostname: text('Its own host name.'),
    labels: map('Labels of the host.'),
    local_storage_mb: whole('Free disk, MiB.'),
    memory: whole('Memory, MiB.'),
    metadata_kind: kind('host'),
    milli_cpu: whole('Thousandths of a processor.'),
    name: text('Name in the environment.'),
    state: text('`active`.'),
    uuid,
  },
}

const network: Shape = {
  description: 'A network that containers have addresses on.',
  properties: {
    default_policy_action: text('`allow`.'),
    environment_uuid: environmentUuid,
    host_ports: flag('Whether the network publishes ports itself.'),
    is_default: flag('Whether it is the only one or the default.'),
    metadata: anything('`cniConfig`: file name → configuration, with the subnet.'),
    metadata_kind: kind('network'),
    name: text('`drover`.'),
    policy: { description: 'Rules between services.' },
    uuid,
  },
}

const root: Shape = {
  description: 'Everything that one version of the contract shows to one client.',
  optional: ['environments', 'self'],
  properties: {
    containers: list('Container', 'By stack, service and number; then those outside of services by name.'),
    environments: {
      type: ['array', 'null'],
      description: 'Linked environments; from 2016-07-29 on.',
    },
    hosts: list('Host', 'By name.'),
    name: text('Name of the environment, in lower case.'),
    networks: list('Network', 'One in Drover.'),
    region_name: textOrNull('Region.'),
    self: one('Self', 'Who asks. Missing for an address that several containers have.'),
    services: list('Service', "By stack, the primary's name, and their own."),
    stacks: list('Stack', 'By name.'),
    uuid: text('UUID of the environment.'),
    version: text('Changes when anything that is shown changes, and in Drover only then.'),
  },
}

const self: Shape = {
  description: 'Who asks: a container, or else only the host that answers.',
  optional: ['container', 'host', 'service', 'stack'],
  properties: {
    container: one('Container', 'The container that asks.'),
    host: one('Host', 'Its host.'),
    service: one('Service', 'Its service, if it has one.'),
    stack: one('Stack', 'Its stack, if it has one.'),
  },
}

const healthCheck: Shape = {
  description: "Rancher's health check; Drover has Docker's, which is a command, and shows null.",
  properties: {
    healthy_threshold: whole('Good answers in a row that make it healthy.'),
    interval: whole('Milliseconds.'),
    port: whole('Port.'),
    request_line: textOrNull('First line of an HTTP request; null for a connection only.'),
    response_timeout: whole('Milliseconds.'),
    unhealthy_threshold: whole('Bad answers in a row that make it unhealthy.'),
  },
}

/** Names of components → shapes, as the two newer versions of the contract have them. */
export const shapes: Readonly<Record<string, Shape>> = {
  Root: root,
  Self: self,
  Container: container,
  Service: service,
  Stack: stack,
  Host: host,
  Network: network,
  HealthCheck: healthCheck,
}

/** What is another shape in 2015-07-25: names where later versions have objects. */
export const oldestShapes: Readonly<Record<string, Shape>> = {
  Service: {
    ...service,
    properties: { ...service.properties, containers: textsOrNull('Names, by number; null for none.') },
  },
  Stack: {
    ...stack,
    properties: { ...stack.properties, services: texts('Names.') },
  },
}
