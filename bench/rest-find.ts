/**
 * Owns the part of `rest` about searches: studies by the beginning of a patient's name, among as many as a hospital has. Both indexes are
 * filled without HTTP, since the reference takes an hour to be sent so many: ours through its writer, the reference's by copying in SQL what it
 * made of one study itself.
 */

import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { openSqlite } from '../src/database/sqlite.ts';
import type { StoreOperation } from '../src/database/database.ts';
import type { Identifiers, Summary } from '../src/dicom/summary.ts';
import { make } from '../test/dicom/made.ts';
import { Client, percentile } from './sender.ts';
import { type Running, startServer, type Subject } from './servers.ts';

const STUDIES = Number(process.env['ISEN_BENCH_STUDIES'] ?? 100_000);
const BATCH = 500;
/** The bar: Isen over the reference. */
const LEAST = 3;
/** Milliseconds that one server is asked for. */
const TIME = 3000;
/** Studies that one search finds. */
const FOUND = 10;

/** What tells the n-th study from the others. */
function identity(n: number): Readonly<Record<'name' | 'patientId' | 'study' | 'series' | 'instance', string>> {
  const number = String(n).padStart(7, '0');
  const study = `2.25.4711.${n}`;
  return {
    name: `DOE${number}^JANE`,
    patientId: `P${number}`,
    study,
    series: `${study}.1`,
    instance: `${study}.1.1`,
  };
}

const publicId = (...chain: readonly string[]): string =>
  createHash('sha1')
    .update(chain.join('|'))
    .digest('hex')
    .replace(/(.{8})(?=.)/g, '$1-');

function idsOf(n: number): Identifiers {
  const { patientId, study, series, instance } = identity(n);
  return {
    Patient: publicId(patientId),
    Study: publicId(patientId, study),
    Series: publicId(patientId, study, series),
    Instance: publicId(patientId, study, series, instance),
  };
}

function operation(n: number): StoreOperation {
  const { name, patientId, study, series, instance } = identity(n);
  const patient = { '0010,0010': name, '0010,0020': patientId };
  const ids = idsOf(n);
  const summary: Summary = {
    ids,
    tags: {
      Patient: patient,
      Study: { ...patient, '0008,0020': '20261123', '0020,000d': study },
      Series: { '0008,0060': 'CT', '0020,000e': series },
      Instance: { '0008,0018': instance, '0020,0013': '1' },
    },
    metadata: { Patient: {}, Study: {}, Series: {}, Instance: { TransferSyntax: '1.2.840.10008.1.2.1' } },
  };
  const md5 = createHash('md5').update(instance).digest('hex');
  return {
    kind: 'store',
    overwrite: 'Never',
    ids,
    summary: JSON.stringify(summary),
    attachment: {
      uuid: randomUUID(),
      contentType: 1,
      uncompressedSize: 1000,
      uncompressedMD5: md5,
      compressedSize: 1000,
      compressedMD5: md5,
      compression: 'none',
    },
    metadata: { ReceptionDate: '20261123T101622', Origin: 'RestApi' },
  };
}

async function fillOurs(folder: string): Promise<void> {
  const limits = { maximumStorageSize: 0, maximumPatientCount: 0, mode: 'Recycle', stableAge: 3_600_000 } as const;
  const database = await openSqlite({ path: join(folder, 'storage', 'index'), limits });
  for (let n = 1; n < STUDIES; n += BATCH) {
    const count = Math.min(BATCH, STUDIES - n);
    await database.commit(Array.from({ length: count }, (_, index) => operation(n + index)));
  }
  await database.close();
}

/** Copies the four resources of the first study, with all that is said of them. */
function fillReference(folder: string): void {
  const database = new Sqlite(join(folder, 'storage', 'index'));
  const LEVELS = ['Patient', 'Study', 'Series', 'Instance'] as const;
  const first = identity(0);
  const own = database.prepare('SELECT internalId AS id FROM Resources WHERE publicId = ?').pluck();
  const templates = LEVELS.map((level) => own.get(idsOf(0)[level]) as number);
  const resource = database.prepare('INSERT INTO Resources VALUES (NULL, ?, ?, ?)');
  const tables = ['MainDicomTags', 'DicomIdentifiers', 'Metadata', 'AttachedFiles'].flatMap((table) =>
    templates.flatMap((id, level) =>
      (database.prepare(`SELECT * FROM ${table} WHERE id = ?`).raw().all(id) as unknown[][]).map((row) => ({
        level,
        row: row.slice(1),
        insert: database.prepare(`INSERT INTO ${table} VALUES (${row.map(() => '?').join()})`),
      })),
    ),
  );
  const fill = database.transaction(() => {
    for (let n = 1; n < STUDIES; n += 1) {
      const next = identity(n);
      const values = new Map(Object.entries(first).map(([key, value]) => [value, next[key as keyof typeof next]]));
      const ids = idsOf(n);
      const made: (number | bigint)[] = [];
      for (const [index, level] of LEVELS.entries())
        made.push(resource.run(index + 1, ids[level], made[index - 1] ?? null).lastInsertRowid);
      for (const { level, row, insert } of tables)
        insert.run(made[level], ...row.map((value) => values.get(String(value)) ?? value));
    }
  });
  fill();
  database.exec('ANALYZE');
  database.close();
}

async function filled(subject: Subject & ('isen' | 'reference')): Promise<Running> {
  const server = await startServer(subject);
  const { name, patientId, study, series, instance } = identity(0);
  const body = make({ patientId, patientName: name, studyUid: study, seriesUid: series, sopUid: instance });
  const answer = await fetch(`http://127.0.0.1:${server.port}/instances`, {
    method: 'POST',
    body: new Uint8Array(body),
  });
  if (!answer.ok) throw new Error(`${subject} refused the first study`);
  await server.stop();
  if (subject === 'isen') await fillOurs(server.folder);
  else fillReference(server.folder);
  return startServer(subject, { folder: server.folder });
}

/** Searches a second by one client, each for another beginning of a name, shown whole. */
async function search(server: Running): Promise<number> {
  let count = 0;
  // By hand: a client of Node takes longer over each than either server, and would be what is measured.
  const client = new Client(server.port, true);
  const began = performance.now();
  while (performance.now() < began + TIME) {
    const prefix = String((count * 7919) % (STUDIES / FOUND)).padStart(6, '0');
    const question = JSON.stringify({ Level: 'Study', Query: { PatientName: `doe${prefix}*` }, Expand: true });
    const { status, body } = await client.request([
      `POST /tools/find HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${question.length}\r\n\r\n`,
      question,
    ]);
    // Each of them says of what level it is, once.
    const found = status === 200 ? body.match(/"Type" ?: "Study"/g)?.length : 0;
    if (found !== FOUND) throw new Error(`${server.subject} found ${found} of ${FOUND}`);
    count += 1;
  }
  client.end();
  return (count * 1000) / (performance.now() - began);
}

/** Lines to print, the ratio first. */
export async function find(rounds: number): Promise<readonly string[]> {
  const servers: Running[] = [];
  const rates = new Map<Running, number[]>();
  /** Milliseconds of CPU of one search, which say more on a machine that others use. */
  const spent = new Map<Running, number[]>();
  try {
    for (const subject of ['isen', 'reference'] as const) servers.push(await filled(subject));
    // What counts is a server that has run for a while: the code is compiled, and the index in memory.
    for (const server of servers) await search(server);
    for (let round = 0; round < rounds; round += 1) {
      for (const server of round % 2 === 0 ? servers : [...servers].reverse()) {
        const before = server.cpu();
        const rate = await search(server);
        rates.set(server, [...(rates.get(server) ?? []), rate]);
        spent.set(server, [...(spent.get(server) ?? []), ((server.cpu() - before) * 1e6) / (rate * TIME)]);
      }
    }
  } finally {
    for (const server of servers) await server.stop();
  }
  const of = (server: Running | undefined): readonly number[] => (server && rates.get(server)) ?? [];
  const ratio = percentile(of(servers[0]), 0.5) / percentile(of(servers[1]), 0.5);
  return [
    `${ratio.toFixed(2)} searches by the beginning of a name, ${FOUND} of ${STUDIES} studies, shown whole (bar ${LEAST}: ${ratio >= LEAST ? 'met' : 'MISSED'})`,
    ...servers.map(
      (server) =>
        `  ${server.subject}: ${percentile(of(server), 0.5).toFixed(1)}/s [${of(server)
          .map((rate) => rate.toFixed(1))
          .join(' ')}], ${percentile(spent.get(server) ?? [], 0.5).toFixed(1)} ms of CPU each`,
    ),
  ];
}
