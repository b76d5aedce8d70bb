/** The metrics that Prometheus reads. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  metricsText,
  recordAttempts,
  recordDepth,
  recordInstance,
  recordRequest,
  recordStage,
  recordWork,
  setMetricsEnabled,
} from '../src/metrics.ts';

test('what is recorded is shown, by route and stage', async () => {
  recordRequest('/studies/{id}', 'GET', 200, 0.002);
  recordStage('commit', 0.02, 0.004);
  recordInstance('Success', 1000);
  recordInstance('AlreadyStored', 500);
  recordDepth('writer', 3);
  recordAttempts('modality:a', 3);
  recordWork([{ queue: 'gone', state: 'waiting', count: 1, oldest: 0 }]);
  recordWork([{ queue: 'modality:a', state: 'waiting', count: 5, oldest: Date.now() + 1000 }]);
  const text = await metricsText();
  assert.doesNotMatch(text, /gone/);
  for (const line of [
    'isen_http_request_duration_seconds_bucket{le="0.001",route="/studies/{id}",method="GET",status="200"} 0',
    'isen_http_request_duration_seconds_bucket{le="0.0025",route="/studies/{id}",method="GET",status="200"} 1',
    'isen_ingest_wait_seconds_bucket{le="0.005",stage="commit"} 1',
    'isen_ingest_work_seconds_sum{stage="commit"} 0.02',
    'isen_ingested_instances_total{outcome="AlreadyStored"} 1',
    'isen_ingested_bytes_total 1500',
    'isen_queue_depth{queue="writer"} 3',
    'isen_work_attempts_total{queue="modality:a"} 3',
    'isen_work_entries{queue="modality:a",state="waiting"} 5',
    'isen_work_oldest_seconds{queue="modality:a",state="waiting"} 0',
  ]) {
    assert.ok(text.split('\n').includes(line), line);
  }
});

test('nothing is recorded or shown while metrics are off', async () => {
  setMetricsEnabled(false);
  recordInstance('Success', 7);
  assert.equal(await metricsText(), '');
  setMetricsEnabled(true);
  assert.match(await metricsText(), /^isen_ingested_bytes_total 1500$/m);
});
