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
} as const satisfies Record<string, MetricRow>

export type MetricName = keyof typeof metricTable
