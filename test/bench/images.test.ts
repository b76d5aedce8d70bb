/** Owns the proof that the benchmarks' instances are valid, distinct, grouped as asked, and cheap to make. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ImageSource } from '../../bench/images.ts';
import { readFile } from '../../src/dicom/read.ts';
import { summarize } from '../../src/dicom/summary.ts';
import { temporaryFolder, without } from '../peer.ts';

const OPTIONS = { rows: 128, columns: 128, instancesPerSeries: 5, seriesPerStudy: 2, studiesPerPatient: 3, seed: 7 };

function take(source: ImageSource, count: number): Buffer[] {
  return Array.from({ length: count }, () => {
    const { head, tail } = source.next();
    return Buffer.concat([head, tail]);
  });
}

test('instances are whole, of the size that was said, and grouped as asked', () => {
  const source = new ImageSource(OPTIONS);
  const summaries = take(source, 60).map((bytes) => {
    assert.equal(bytes.length, source.size);
    const { dataSet } = readFile(bytes);
    assert.ok(dataSet.elements.size >= 60 && dataSet.elements.size <= 90, String(dataSet.elements.size));
    assert.equal(dataSet.elements.get('7fe0,0010')?.length, 128 * 128 * 2);
    return summarize(bytes);
  });
  const distinct = (level: 'Patient' | 'Study' | 'Series' | 'Instance'): number =>
    new Set(summaries.map(({ ids }) => ids[level])).size;
  assert.deepEqual(
    {
      patients: distinct('Patient'),
      studies: distinct('Study'),
      series: distinct('Series'),
      instances: distinct('Instance'),
    },
    { patients: 2, studies: 6, series: 12, instances: 60 },
  );
  assert.deepEqual(
    summaries.slice(0, 6).map(({ tags }) => Number(tags.Instance['0020,0013'])),
    [0, 1, 2, 3, 4, 5],
  );
});

test('sources of different seeds share nothing, of the same seed everything', () => {
  const ids = (seed: number): string[] =>
    take(new ImageSource({ ...OPTIONS, seed }), 3).flatMap((bytes) => Object.values(summarize(bytes).ids));
  assert.deepEqual(ids(1), ids(1));
  const other = new Set(ids(555_555_555));
  assert.ok(ids(1).every((id) => !other.has(id)));
  assert.throws(() => new ImageSource({ ...OPTIONS, seed: 1e9 }), RangeError);
});

test('a head outlives as many calls as was asked', () => {
  const source = new ImageSource({ ...OPTIONS, heads: 3 });
  const { head } = source.next();
  const first = Buffer.from(head);
  source.next();
  source.next();
  assert.deepEqual(head, first);
  assert.equal(source.next().head, head);
});

test('making 5,000 instances costs less than 50 ms of a core', () => {
  const source = new ImageSource({ ...OPTIONS, rows: 512, columns: 512 });
  assert.ok(Math.abs(source.size - 526_000) < 2_000, String(source.size));
  for (let count = 0; count < 5000; count += 1) source.next();
  const before = process.cpuUsage();
  for (let count = 0; count < 5000; count += 1) source.next();
  const { user, system } = process.cpuUsage(before);
  assert.ok(user + system < 50_000, `${user + system} µs`);
});

test('DCMTK reads them without a warning', { skip: without('dcmdump') }, () => {
  const folder = temporaryFolder();
  const files = take(new ImageSource(OPTIONS), 3).map((bytes, index) => {
    const path = join(folder, `${index}.dcm`);
    writeFileSync(path, bytes);
    return path;
  });
  const dump = spawnSync('dcmdump', ['--verbose', '--load-all', ...files], { encoding: 'utf8' });
  assert.equal(dump.status, 0, dump.stderr);
  assert.doesNotMatch(dump.stderr, /^[WE]:/m);
  assert.equal(dump.stdout.match(/^\(7fe0,0010\) OW/gm)?.length, 3);
});
