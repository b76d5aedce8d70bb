/**
 * Owns the benchmark of a growing index: commits alone, in batches as the writer gathers them, up to a million instances
 * (`ISEN_BENCH_COUNT`), and what searches cost in the end. What must hold: the last 10,000 at 0.8 × the rate of the first;
 * on a shared machine the comparison in turn with a new index says it more surely. `ISEN_BENCH_POSTGRESQL` is the URL of
 * an empty database that takes the place of SQLite.
 */

import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Constraint, Database, DatabaseLimits, FindRequest, StoreOperation } from '../src/database/database.ts';
import { openPostgres } from '../src/database/postgres.ts';
import { openSqlite } from '../src/database/sqlite.ts';
import type { Identifiers, Summary } from '../src/dicom/summary.ts';

const BATCH = 100;
const PER_SERIES = 200;
/** Instances of one study. */
export const PER_STUDY = 3 * PER_SERIES;
/** Studies of one patient. */
const STUDIES = 2;
const SAMPLE = 10_000;
/** The rate at the end over that at the beginning, at least. */
const BAR = 0.8;

/** Of an index without bounds. */
export const LIMITS: DatabaseLimits = {
  maximumStorageSize: 0,
  maximumPatientCount: 0,
  mode: 'Recycle',
  stableAge: 60_000,
};

/** Opens the index `name`, in `folder` or the database of the environment. */
async function open(folder: string, name: string): Promise<Database> {
  const url = process.env['ISEN_BENCH_POSTGRESQL'];
  if (url === undefined) return openSqlite({ path: join(folder, `${name}.db`), limits: LIMITS });
  return openPostgres({
    connection: { url, schema: `bench_${name}` },
    limits: LIMITS,
    connections: 4,
    patience: { retries: 0, interval: 0 },
  });
}

const NAMES = ['Müller', 'Smith', 'Garcia', 'Nguyen', 'Kowalski', 'Rossi', 'Dubois', 'Yamada', 'Ivanov', 'Silva'];

function publicIdOf(...chain: readonly string[]): string {
  return createHash('sha1')
    .update(chain.join('|'))
    .digest('hex')
    .replace(/(.{8})(?=.)/g, '$1-');
}

/** The n-th instance of a hospital: CT slices of 512 × 512, one study after the other. */
export function instance(n: number): StoreOperation {
  const study = Math.floor(n / PER_STUDY);
  const series = Math.floor(n / PER_SERIES);
  const patient = Math.floor(study / STUDIES);
  const patientId = `P${String(patient * 7919).padStart(8, '0')}`;
  const studyUid = `1.2.840.113619.2.55.3.604688119.971.${1_268_071_029 + study * 37}.${study}`;
  const seriesUid = `${studyUid}.${series}`;
  const uid = `1.2.840.113619.2.55.3.604688119.971.${1_268_071_029 + n}.${n % 997}`;
  const day = new Date(Date.UTC(2015, 0, 1) + study * 43_200_000).toISOString().slice(0, 10).replaceAll('-', '');
  const person = {
    '0010,0010': `${NAMES[patient % NAMES.length]}${patient}^Anna`,
    '0010,0020': patientId,
    '0010,0030': `19${String(30 + (patient % 70))}0415`,
    '0010,0040': 'F',
  };
  const ids: Identifiers = {
    Patient: publicIdOf(patientId),
    Study: publicIdOf(patientId, studyUid),
    Series: publicIdOf(patientId, studyUid, seriesUid),
    Instance: publicIdOf(patientId, studyUid, seriesUid, uid),
  };
  const md5 = createHash('md5').update(uid).digest('hex');
  const size = 525_312 + (n % 1000) * 2;
  return {
    kind: 'store',
    overwrite: 'Never',
    ids,
    summary: JSON.stringify({
      ids,
      tags: {
        Patient: person,
        Study: {
          ...person,
          '0008,0020': day,
          '0008,0030': '101530.000',
          '0008,0050': `A${String(study).padStart(9, '0')}`,
          '0008,0080': 'General Hospital',
          '0008,0090': 'House^Gregory',
          '0008,1030': 'CT Thorax with contrast',
          '0020,000d': studyUid,
          '0020,0010': String(study),
        },
        Series: {
          '0008,0021': day,
          '0008,0031': '101612.000',
          '0008,0060': 'CT',
          '0008,0070': 'GE MEDICAL SYSTEMS',
          '0008,1010': 'CT01',
          '0008,103e': 'Thorax 1.25mm',
          '0018,0015': 'CHEST',
          '0018,1030': 'Routine chest',
          '0020,000e': seriesUid,
          '0020,0011': String((series % 3) + 1),
          '0020,0037': '1\\0\\0\\0\\1\\0',
        },
        Instance: {
          '0008,0012': day,
          '0008,0013': '101622.000',
          '0008,0018': uid,
          '0020,0012': '1',
          '0020,0013': String((n % PER_SERIES) + 1),
          '0020,0032': `-180.000\\-171.500\\${((n % PER_SERIES) * 1.25).toFixed(3)}`,
          '0020,0037': '1\\0\\0\\0\\1\\0',
        },
      },
      metadata: {
        Patient: {},
        Study: {},
        Series: {},
        Instance: {
          TransferSyntax: '1.2.840.10008.1.2.1',
          SopClassUid: '1.2.840.10008.5.1.4.1.1.2',
          IndexInSeries: String((n % PER_SERIES) + 1),
          PixelDataOffset: '1024',
        },
      },
    } satisfies Summary),
    attachment: {
      uuid: randomUUID(),
      contentType: 1,
      uncompressedSize: size,
      uncompressedMD5: md5,
      compressedSize: size,
      compressedMD5: md5,
      compression: 'none',
    },
    metadata: {
      ReceptionDate: '20260101T101622',
      Origin: 'DicomProtocol',
      RemoteAET: 'CT01',
      RemoteIP: '10.1.2.3',
      CalledAET: 'ISEN',
    },
  };
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** Median microseconds of a search over nine runs with different values. Throws where one finds nothing, unless `findsNone`. */
async function search(
  database: Database,
  name: string,
  request: (n: number) => FindRequest,
  findsNone = false,
): Promise<void> {
  const times: number[] = [];
  let found = 0;
  for (let n = 0; n < 9; n++) {
    const start = performance.now();
    found = (await database.find(request(n))).length;
    times.push((performance.now() - start) * 1000);
    if ((found === 0) !== findsNone) throw new Error(`${name}: ${found} found`);
  }
  print(
    `  ${name.padEnd(34)} ${median(times).toFixed(0).padStart(7)} µs  (max ${Math.max(...times).toFixed(0)}, ${found} found)`,
  );
}

/**
 * The same 10,000 instances into the grown index and into a new one, batch by batch in turn: what else the machine does
 * meets both alike.
 */
async function compare(grown: Database, total: number, folder: string): Promise<void> {
  const fresh = await open(folder, 'fresh');
  const times: { grown: number; fresh: number }[] = [];
  const commit = async (database: Database, n: number): Promise<number> => {
    const operations = Array.from({ length: BATCH }, (_, index) => instance(n + index));
    const start = performance.now();
    await database.commit(operations);
    return performance.now() - start;
  };
  for (let n = total; n < total + SAMPLE; n += BATCH) await commit(fresh, n + SAMPLE);
  for (let n = total; n < total + SAMPLE; n += BATCH) {
    times.push({ grown: await commit(grown, n), fresh: await commit(fresh, n) });
  }
  const rate = (of: 'grown' | 'fresh'): number => (SAMPLE / times.reduce((sum, each) => sum + each[of], 0)) * 1000;
  print(
    `in turn with an index of ${SAMPLE} to ${2 * SAMPLE}: grown ${rate('grown').toFixed(0)}/s, new ${rate('fresh').toFixed(0)}/s, ratio ${(rate('grown') / rate('fresh')).toFixed(2)} (medians ${(median(times.map((each) => each.fresh)) / median(times.map((each) => each.grown))).toFixed(2)})`,
  );
  await fresh.close();
}

/** A study of 10,000 instances goes in one transaction. */
async function deletion(database: Database): Promise<number> {
  const operations = Array.from({ length: SAMPLE }, (_, index) => {
    const { summary, ids: old, ...rest } = instance(index);
    const [patient, study] = ['huge', 'huge.1'];
    const series = `huge.1.${Math.floor(index / PER_SERIES)}`;
    const ids: Identifiers = {
      Patient: publicIdOf(patient),
      Study: publicIdOf(patient, study),
      Series: publicIdOf(patient, study, series),
      Instance: publicIdOf(patient, study, series, `${index}`),
    };
    return { ...rest, ids, summary: summary.replace(JSON.stringify(old), JSON.stringify(ids)) };
  });
  for (let n = 0; n < SAMPLE; n += BATCH) await database.commit(operations.slice(n, n + BATCH));
  const start = performance.now();
  await database.commit([{ kind: 'delete', level: 'Patient', id: publicIdOf('huge') }]);
  return performance.now() - start;
}

/** `npm run bench -- index`. */
export async function run(_args: readonly string[]): Promise<void> {
  const total = Number(process.env['ISEN_BENCH_COUNT'] ?? 1_000_000);
  const folder = mkdtempSync(join(process.env['ISEN_BENCH_FOLDER'] ?? tmpdir(), 'isen-bench-'));
  const database = await open(folder, 'grown');
  try {
    // Milliseconds of each commit, in order.
    const times: number[] = [];
    for (let n = 0; n < total; n += BATCH) {
      const operations = Array.from({ length: BATCH }, (_, index) => instance(n + index));
      const start = performance.now();
      await database.commit(operations);
      times.push(performance.now() - start);
      if ((n + BATCH) % Math.max(SAMPLE, total / 10) === 0) {
        const last = times.slice(-SAMPLE / BATCH);
        const rate = (SAMPLE / last.reduce((sum, each) => sum + each, 0)) * 1000;
        print(
          `  ${String(n + BATCH).padStart(8)} instances: ${rate.toFixed(0)}/s, commit of ${BATCH}: median ${median(last).toFixed(1)} ms, max ${Math.max(...last).toFixed(1)} ms`,
        );
      }
    }
    const batches = SAMPLE / BATCH;
    const sum = (slice: readonly number[]): number => slice.reduce((a, b) => a + b, 0);
    // The first 10,000 after as many to warm up.
    const first = times.slice(batches, 2 * batches);
    const last = times.slice(-batches);
    const ratio = sum(first) / sum(last);
    print(
      `ratio last / first 10,000: ${ratio.toFixed(2)} (bar ${BAR}: ${ratio >= BAR ? 'met' : 'MISSED'}; medians ${(median(first) / median(last)).toFixed(2)})`,
    );
    print(
      `whole: ${((total / sum(times)) * 1000).toFixed(0)} instances/s; slowest commit ${times.reduce((a, b) => Math.max(a, b), 0).toFixed(0)} ms`,
    );

    await compare(database, total, folder);

    const studies = Math.floor(total / PER_STUDY);
    const by = (n: number): number => Math.floor((studies * (n + 1)) / 11);
    const where = (constraint: Constraint): readonly Constraint[] => [constraint];
    const caseSensitive = false;
    print('searches (median of 9):');
    await search(database, 'PatientName prefix', (n) => ({
      level: 'Study',
      where: where({
        tag: '0010,0010',
        caseSensitive,
        match: 'wildcard',
        value: `${NAMES[Math.floor(by(n) / STUDIES) % NAMES.length]}${Math.floor(by(n) / STUDIES)}*`,
      }),
    }));
    await search(database, 'StudyDate range of two days', (n) => {
      const day = (JSON.parse(instance(by(n) * PER_STUDY).summary) as Summary).tags.Study['0008,0020'] ?? '';
      return {
        level: 'Study',
        where: where({ tag: '0008,0020', caseSensitive, match: 'range', from: day, to: `${Number(day) + 1}` }),
      };
    });
    await search(database, 'AccessionNumber', (n) => ({
      level: 'Study',
      where: where({ tag: '0008,0050', caseSensitive, match: 'equal', value: `A${String(by(n)).padStart(9, '0')}` }),
    }));
    const studyOf = (n: number): string => instance(by(n) * PER_STUDY).ids.Study;
    await search(database, 'one study, expanded', (n) => ({
      level: 'Study',
      id: studyOf(n),
      children: true,
      ancestors: true,
    }));
    await search(database, 'one study, computed tags', (n) => ({ level: 'Study', id: studyOf(n), computed: true }));
    await search(database, 'instances of a study', (n) => ({
      level: 'Instance',
      of: { level: 'Study', id: studyOf(n) },
    }));
    await search(database, 'PatientName prefix, a tenth of all', (n) => ({
      level: 'Study',
      limit: 100,
      where: where({ tag: '0010,0010', caseSensitive, match: 'wildcard', value: `${NAMES[n]}*` }),
    }));
    await search(
      database,
      'PatientName *inside*, no match',
      () => ({
        level: 'Study',
        where: where({ tag: '0010,0010', caseSensitive, match: 'wildcard', value: '*nobody*' }),
      }),
      true,
    );
    const time = async (name: string, work: () => Promise<unknown>): Promise<void> => {
      const start = performance.now();
      await work();
      print(`  ${name.padEnd(34)} ${((performance.now() - start) * 1000).toFixed(0).padStart(7)} µs`);
    };
    await time('statistics of the server', async () => database.statistics());
    await time('last 100 changes', async () => database.changes({ to: Number.MAX_SAFE_INTEGER, limit: 100 }));
    await time('100 NewPatient', async () => database.changes({ since: total / 2, limit: 100, types: ['NewPatient'] }));
    await time('1,000 unknown blobs', async () => database.attached(Array.from({ length: 1000 }, () => randomUUID())));
    print(`  delete a patient of 10,000         ${(await deletion(database)).toFixed(0).padStart(7)} ms`);
    await time('all ids', async () => database.find({ level: 'Instance', idsOnly: true }));
  } finally {
    await database.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
