/**
 * The closed table of metrics. docs/metrics.md lists the same rows, and a test compares them.
 */
interface MetricRow {
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
}

export const metricTable = {
  drover_records_rejected_total: {
    kind: 'counter',
    help: 'Records in the store that did not verify.',
    labels: ['why'],
  },
  drover_joins_total: {
    kind: 'counter',
    help: 'Requests at the join endpoint: admitted, refused.',
    labels: ['result'],
  },
  drover_environment_revision: { kind: 'gauge', help: 'Store revision of the snapshot in use.', labels: [] },
  drover_store_connected: { kind: 'gauge', help: '1 while the watch of the store is fresh.', labels: [] },
  drover_engine_connected: { kind: 'gauge', help: '1 while the Docker engine answers.', labels: [] },
  drover_containers: { kind: 'gauge', help: 'Managed containers of this host.', labels: [] },
  drover_attach_seconds: { kind: 'histogram', help: 'Time to attach one container.', labels: [] },
  drover_publish_seconds: { kind: 'histogram', help: 'Time to write one batch of records.', labels: [] },
  drover_failures_total: {
    kind: 'counter',
    help: 'Operations that failed and are retried.',
    labels: ['what'],
  },
  drover_worker_restarts_total: {
    kind: 'counter',
    help: 'Workers that ended and were started again.',
    labels: ['worker'],
  },
  drover_peer_reachable: {
    kind: 'gauge',
    help: '1 when the peer answers probes through the tunnel.',
    labels: ['peer'],
  },
  drover_peer_backend: {
    kind: 'gauge',
    help: '1 for the backend that carries packets to the peer: ipsec or wireguard.',
    labels: ['peer', 'backend'],
  },
  drover_backend_switches_total: {
    kind: 'counter',
    help: 'Changes of the backend that carries packets to the peer.',
    labels: ['peer'],
  },
  drover_tunnel_engine: {
    kind: 'gauge',
    help: '1 for the WireGuard engine of this host: kernel or userspace.',
    labels: ['engine'],
  },
  drover_tunnel_offload: {
    kind: 'gauge',
    help: '1 while the userspace engine uses this offload.',
    labels: ['offload'],
  },
  drover_ipsec_heals_total: {
    kind: 'counter',
    help: 'Peers whose IPsec state was deleted in the kernel and made again.',
    labels: [],
  },
  drover_peer_path_mtu_bytes: {
    kind: 'gauge',
    help: 'Largest packet that the path to the peer carries inside of the tunnel.',
    labels: ['peer'],
  },
  drover_allocation_seconds: { kind: 'histogram', help: 'Time to find an address.', labels: [] },
  drover_address_space_full_total: {
    kind: 'counter',
    help: 'Requests refused because no address was free.',
    labels: [],
  },
  drover_address_upkeep_failures_total: {
    kind: 'counter',
    help: 'Rounds of address upkeep that failed and are retried.',
    labels: [],
  },
  drover_addresses_taken_back_total: {
    kind: 'counter',
    help: 'Claims of dead hosts that were taken back.',
    labels: [],
  },
  drover_engine_events_total: { kind: 'counter', help: 'Events read from the Docker engine.', labels: [] },
  drover_engine_reconnects_total: {
    kind: 'counter',
    help: 'Connections to the Docker engine that ended.',
    labels: [],
  },
  drover_engine_missed_total: {
    kind: 'counter',
    help: 'Listings that showed what no event had told.',
    labels: [],
  },
  drover_dns_questions_total: {
    kind: 'counter',
    help: 'Questions by how they were answered.',
    labels: ['result'],
  },
  drover_dns_names: { kind: 'gauge', help: 'Names in the zone.', labels: [] },
  drover_dns_cache_entries: { kind: 'gauge', help: 'Answers of upstreams in the cache.', labels: [] },
  drover_dns_upstream_seconds: {
    kind: 'gauge',
    help: 'Smoothed round trip to the upstream resolver.',
    labels: ['upstream'],
  },
  drover_dns_upstream_up: {
    kind: 'gauge',
    help: '1 while the upstream resolver answers.',
    labels: ['upstream'],
  },
  drover_metadata_requests_total: { kind: 'counter', help: 'Requests to the metadata service.', labels: [] },
  drover_metadata_refused_total: {
    kind: 'counter',
    help: 'Requests that the metadata service refused.',
    labels: [],
  },
  drover_metadata_limited_total: {
    kind: 'counter',
    help: 'Refusals by the limit that was met: connections, polls, head, time.',
    labels: ['limit'],
  },
  drover_metadata_connections: {
    kind: 'gauge',
    help: 'Connections of clients that are open.',
    labels: [],
  },
  drover_metadata_waiting: { kind: 'gauge', help: 'Long polls that are open.', labels: [] },
} as const satisfies Record<string, MetricRow>

export type MetricName = keyof typeof metricTable
