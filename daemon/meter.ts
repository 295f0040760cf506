/**
 * Metrics: prom-client underneath, `Meter` above. Only what the table of docs/metrics.md names can be recorded.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Labels, Meter } from '../model/ports.ts'
import { type MetricName, metricTable } from './metric-table.ts'

export class PrometheusMeter implements Meter {
  readonly #registry = new Registry()
  readonly #counters = new Map<string, Counter>()
  readonly #gauges = new Map<string, Gauge>()
  readonly #histograms = new Map<string, Histogram>()

  constructor() {
    collectDefaultMetrics({ register: this.#registry })
    for (const [name, { kind, help, labels }] of Object.entries(metricTable)) {
      const options = { name, help, labelNames: [...labels], registers: [this.#registry] }
      if (kind === 'counter') this.#counters.set(name, new Counter(options))
      else if (kind === 'gauge') this.#gauges.set(name, new Gauge(options))
      else
        this.#histograms.set(
          name,
          new Histogram({ ...options, buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5] }),
        )
    }
  }

  count(name: string, by = 1, labels: Labels = {}): void {
    this.#counters.get(name)?.inc(labels, by)
  }

  gauge(name: string, value: number, labels: Labels = {}): void {
    this.#gauges.get(name)?.set(labels, value)
  }

  observe(name: string, seconds: number, labels: Labels = {}): void {
    this.#histograms.get(name)?.observe(labels, seconds)
  }

  /** What a counter stands at for each value of one of its labels. */
  async counts(name: MetricName, label: string): Promise<Readonly<Record<string, number>>> {
    const { values = [] } = (await this.#counters.get(name)?.get()) ?? {}
    return Object.fromEntries(values.map(({ labels, value }) => [String(labels[label] ?? ''), value]))
  }

  /** The exposition format of Prometheus. */
  text(): Promise<string> {
    return this.#registry.metrics()
  }
}
