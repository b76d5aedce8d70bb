/**
 * Owns the metrics of the process: histograms of requests by route and of the stages of an upload (waiting apart from
 * working), depths of queues, counts. Times are in seconds, as Prometheus wants them.
 */

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/**
 * The stages of an upload. Parsing and committing take several uploads in one turn; where the thread that commits takes files in, all of it
 * is committing.
 */
export type IngestStage = 'parse' | 'write' | 'commit';

const registry = new Registry();
collectDefaultMetrics({ register: registry });

/** From half a millisecond, where a browse answer lies, to a minute. */
const buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

const requests = new Histogram({
  name: 'isen_http_request_duration_seconds',
  help: 'Time from the head of a request to the end of its answer',
  labelNames: ['route', 'method', 'status'],
  buckets,
  registers: [registry],
});
const waits = new Histogram({
  name: 'isen_ingest_wait_seconds',
  help: 'Time that the first upload of a turn waited for it',
  labelNames: ['stage'],
  buckets,
  registers: [registry],
});
const works = new Histogram({
  name: 'isen_ingest_work_seconds',
  help: 'Time that a stage works on the uploads of one turn',
  labelNames: ['stage'],
  buckets,
  registers: [registry],
});
const depths = new Gauge({
  name: 'isen_queue_depth',
  help: 'Entries that wait in a queue',
  labelNames: ['queue'],
  registers: [registry],
});
const ages = new Gauge({
  name: 'isen_work_oldest_seconds',
  help: 'Age of the oldest entry of durable work by queue and state',
  labelNames: ['queue', 'state'],
  registers: [registry],
});
const entries = new Gauge({
  name: 'isen_work_entries',
  help: 'Entries of durable work by queue and state',
  labelNames: ['queue', 'state'],
  registers: [registry],
});
const workAttempts = new Counter({
  name: 'isen_work_attempts_total',
  help: 'Times that entries of durable work were taken',
  labelNames: ['queue'],
  registers: [registry],
});
const instances = new Counter({
  name: 'isen_ingested_instances_total',
  help: 'Uploaded instances by outcome',
  labelNames: ['outcome'],
  registers: [registry],
});
const bytes = new Counter({
  name: 'isen_ingested_bytes_total',
  help: 'Bytes of uploaded instances',
  registers: [registry],
});
const openAssociations = new Gauge({
  name: 'isen_dicom_associations',
  help: 'Open DICOM associations by who asked for them',
  labelNames: ['direction'],
  registers: [registry],
});
const outOfResources = new Counter({
  name: 'isen_dicom_out_of_resources_total',
  help: 'C-STORE requests that were answered A700H (refused: out of resources)',
  registers: [registry],
});

const deliveries = new Histogram({
  name: 'isen_delivery_duration_seconds',
  help: 'Time that sending an instance to a modality took, by its outcome',
  labelNames: ['modality', 'outcome'],
  buckets,
  registers: [registry],
});
const attempts = new Counter({
  name: 'isen_delivery_attempts_total',
  help: 'Attempts at sending an instance to a modality, by what came of them',
  labelNames: ['modality', 'outcome'],
  registers: [registry],
});
const deliveredBytes = new Counter({
  name: 'isen_delivered_bytes_total',
  help: 'Bytes of data sets sent to a modality',
  labelNames: ['modality'],
  registers: [registry],
});
const associations = new Gauge({
  name: 'isen_associations_open',
  help: 'Associations for sending that are open with a modality',
  labelNames: ['modality'],
  registers: [registry],
});
let enabled = true;

/** Looking for a series by its labels costs several times what counting does, and every image does it often. */
const stage = (name: IngestStage) => ({ work: works.labels({ stage: name }), wait: waits.labels({ stage: name }) });
const STAGES = { parse: stage('parse'), write: stage('write'), commit: stage('commit') } satisfies Record<
  IngestStage,
  unknown
>;

/** Of requests, as many as there are patterns and what they answer. */
const REQUESTS = new Map<string, ReturnType<typeof requests.labels>>();

/** Whether metrics are collected (`MetricsEnabled`, `/tools/metrics`). */
export function metricsEnabled(): boolean {
  return enabled;
}

export function setMetricsEnabled(value: boolean): void {
  enabled = value;
}

/** One answered request. `route` is its pattern (`/studies/{id}`), never the URL: ids would make a series each. */
export function recordRequest(route: string, method: string, status: number, seconds: number): void {
  if (!enabled) return;
  const key = `${method} ${status} ${route}`;
  let series = REQUESTS.get(key);
  if (series === undefined) {
    series = requests.labels({ route, method, status });
    REQUESTS.set(key, series);
  }
  series.observe(seconds);
}

/** One turn of a stage: what it took, and how long the first upload of the turn had waited for it, where that is known. */
export function recordStage(stage: IngestStage, workSeconds: number, waitSeconds?: number): void {
  if (!enabled) return;
  const { work, wait } = STAGES[stage];
  work.observe(workSeconds);
  if (waitSeconds !== undefined) wait.observe(waitSeconds);
}

/** One upload that ended: `outcome` is its Status (`Success`, `AlreadyStored`…) or the name of its error. */
export function recordInstance(outcome: string, size: number): void {
  if (!enabled) return;
  instances.inc({ outcome });
  bytes.inc(size);
}

/** How many entries wait in a queue now. */
export function recordDepth(queue: string, depth: number): void {
  if (enabled) depths.set({ queue }, depth);
}

/** One attempt at sending an instance: how it ended, how long it took, and the bytes that were sent. */
export function recordDelivery(modality: string, outcome: string, seconds: number, size: number): void {
  if (!enabled) return;
  attempts.inc({ modality, outcome });
  if (seconds > 0) deliveries.observe({ modality, outcome }, seconds);
  deliveredBytes.inc({ modality }, size);
}

/** An association for sending was opened (1) or is over (-1). */
export function recordAssociation(modality: string, change: 1 | -1): void {
  if (enabled) associations.inc({ modality }, change);
}

/** How many associations are open now: asked for by peers (`incoming`) or by us (`outgoing`). */
export function recordAssociations(direction: 'incoming' | 'outgoing', open: number): void {
  if (enabled) openAssociations.set({ direction }, open);
}

/** One C-STORE that was refused for want of memory, disk or time. */
export function recordOutOfResources(): void {
  if (enabled) outOfResources.inc();
}

/** What comes after `@` is an address that somebody asked for, of which there may be any number. */
const shownQueue = (queue: string): string => queue.split('@', 1)[0] ?? '';

/** Entries of a queue of durable work that were taken. */
export function recordAttempts(queue: string, count: number): void {
  if (enabled) workAttempts.inc({ queue: shownQueue(queue) }, count);
}

/** How much durable work there is now: all of it. `oldest` is when the first was added, milliseconds since the epoch. */
export function recordWork(
  counts: readonly {
    readonly queue: string;
    readonly state: string;
    readonly count: number;
    readonly oldest: number;
  }[],
): void {
  if (!enabled) return;
  // What is empty now has no row to say so.
  entries.reset();
  ages.reset();
  const oldests = new Map<string, number>();
  for (const { queue: name, state, count, oldest } of counts) {
    const queue = shownQueue(name);
    const first = Math.min(oldest, oldests.get(`${queue} ${state}`) ?? oldest);
    oldests.set(`${queue} ${state}`, first);
    entries.inc({ queue, state }, count);
    ages.set({ queue, state }, Math.max(0, Date.now() - first) / 1000);
  }
}

/** All metrics in Prometheus' text format 0.0.4; empty while metrics are off. */
export async function metricsText(): Promise<string> {
  return enabled ? registry.metrics() : '';
}
