/** Owns the metrics of the server as numbers over time: sums of Prometheus' text format, and rates between two looks. */

/** Sums of samples by the name of the metric, over all labels that `pick` takes. */
export type Sums = ReadonlyMap<string, number>;

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})? (\S+)/;

/** Metrics that are read, and of which of their labels. */
const WANTED: Readonly<Record<string, (labels: string) => boolean>> = {
  isen_ingested_instances_total: (labels) => /outcome="Success"/.test(labels),
  isen_ingested_bytes_total: () => true,
  isen_delivery_attempts_total: (labels) => /outcome="(success|warning)"/.test(labels),
  isen_http_request_duration_seconds_count: () => true,
  process_cpu_seconds_total: () => true,
  process_resident_memory_bytes: () => true,
  nodejs_eventloop_lag_p99_seconds: () => true,
  isen_dicom_associations: () => true,
  process_start_time_seconds: () => true,
};

/** What is wanted of a text of metrics. */
export function sumsOf(text: string): Sums {
  const sums = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, name = '', labels = '', value = ''] = LINE.exec(line) ?? [];
    if (WANTED[name]?.(labels) !== true) continue;
    sums.set(name, (sums.get(name) ?? 0) + Number(value));
  }
  return sums;
}

/** One look. */
export interface Look {
  /** Milliseconds. */
  readonly at: number;
  readonly sums: Sums;
}

/** What can be drawn, by the metric that it is made of. */
export const SERIES = {
  received: { of: 'isen_ingested_instances_total', rate: true },
  receivedBytes: { of: 'isen_ingested_bytes_total', rate: true },
  sent: { of: 'isen_delivery_attempts_total', rate: true },
  requests: { of: 'isen_http_request_duration_seconds_count', rate: true },
  cpu: { of: 'process_cpu_seconds_total', rate: true },
  memory: { of: 'process_resident_memory_bytes', rate: false },
  lag: { of: 'nodejs_eventloop_lag_p99_seconds', rate: false },
  associations: { of: 'isen_dicom_associations', rate: false },
} as const satisfies Readonly<Record<string, { readonly of: string; readonly rate: boolean }>>;
export type SeriesName = keyof typeof SERIES;

/** The values of a series over some looks: of a rate one fewer, in units a second. */
export function valuesOf(name: SeriesName, looks: readonly Look[]): readonly number[] {
  const { of, rate } = SERIES[name];
  const values = looks.map(({ sums }) => sums.get(of) ?? 0);
  if (!rate) return values;
  return values.slice(1).map((value, index) => {
    const before = values[index] ?? 0;
    const seconds = ((looks[index + 1]?.at ?? 0) - (looks[index]?.at ?? 0)) / 1000;
    // A server that was started again counts from nothing.
    return seconds <= 0 ? 0 : Math.max(0, value - before) / seconds;
  });
}
