/**
 * Owns the one write connection: a batch of operations in one transaction, and what is held in memory to make that
 * cheap (the counters, the ids of the parents in use). Whatever is held is dropped when a transaction fails or another
 * process has written.
 */

import type { Database as Connection, Statement } from 'better-sqlite3';
import { LEVEL, LEVELS, type Level } from '../../dicom/levels.ts';
import { IsenError } from '../../errors.ts';
import {
  type AttachmentOperation,
  CHANGE_TYPES,
  type Change,
  type ChangeType,
  type Committed,
  type DatabaseLimits,
  type LabelOperation,
  type MetadataOperation,
  type Outcome,
  type ProtectOperation,
  type Remaining,
  type StabilizeOperation,
} from '../database.ts';
import { IDENTIFIERS, normalise } from '../find.ts';
import { FIRST_USER_ATTACHMENT, isBuiltInMetadata } from '../metadata.ts';
import { openWriter } from './connection.ts';
import { attachmentValues, dateText, levelNumber, publicId, publicIdBytes, TABLE, uuidText } from './rows.ts';
import type { OperationRecord, StoreRecord } from './task.ts';

/** Parents whose ids are held, in all. */
const HELD_PARENTS = 8192;

/** The counters row. Sizes in bytes. */
interface Counters {
  patients: number;
  studies: number;
  series: number;
  instances: number;
  disk_size: number;
  uncompressed_size: number;
  dicom_disk_size: number;
  dicom_uncompressed_size: number;
  seq: number;
  recycling: number;
}

/** A patient, study or series in use. */
interface Parent {
  readonly id: number;
  readonly level: Level;
  /** Row id of its own parent, 0 for a patient. */
  readonly parent: number;
  /** Series that say how many instances they expect: how many there are. */
  completeness: { readonly expected: number; present: number } | undefined;
}

const COUNTER: Readonly<Record<Level, 'patients' | 'studies' | 'series' | 'instances'>> = {
  Patient: 'patients',
  Study: 'studies',
  Series: 'series',
  Instance: 'instances',
};
const PARENT_LEVELS = ['Patient', 'Study', 'Series'] as const;
const done: Outcome = { kind: 'done' };
const unknown: Outcome = { kind: 'refused', error: 'UnknownResource' };

/** SQL of the row ids of `bottom` that are below (or are) the row of `top` bound to its one parameter. */
function below(top: Level, bottom: Level): string {
  if (top === bottom) return 'SELECT ?';
  const parent = LEVEL[bottom].parent;
  if (parent === undefined) throw new IsenError('InternalError', `${bottom} is not below ${top}`);
  return `SELECT id FROM ${TABLE[bottom]} WHERE parent IN (${below(top, parent)})`;
}

export class Writer {
  readonly #db: Connection;
  readonly #limits: DatabaseLimits;
  readonly #statements = new Map<string, Statement<unknown[]>>();
  readonly #parents = new Map<string, Parent>();
  /** Parents that got instances since their rows were last written. */
  readonly #touched = new Set<Parent>();
  #counters: Counters;
  #dataVersion: number;
  #changes: Change[] = [];
  #removals: string[] = [];
  /** Of the running commit: milliseconds since the epoch. */
  #now = 0;

  constructor(path: string, limits: DatabaseLimits) {
    this.#db = openWriter(path);
    this.#limits = limits;
    this.#counters = this.#readCounters();
    this.#dataVersion = this.#readDataVersion();
  }

  /** Applies all, or throws having changed nothing. */
  commit(operations: readonly OperationRecord[]): Committed {
    this.#now = Date.now();
    this.#changes = [];
    this.#removals = [];
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const version = this.#readDataVersion();
      if (version !== this.#dataVersion) {
        this.#forget();
        this.#dataVersion = version;
      }
      const outcomes = operations.map((operation) => this.#apply(operation));
      this.#flush();
      this.#writeCounters();
      this.#db.exec('COMMIT');
      return { outcomes, changes: this.#changes, removals: this.#removals };
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
      this.#forget();
      throw error;
    }
  }

  /** Moves committed pages from the write-ahead log into the file, as far as readers allow. */
  checkpoint(): void {
    this.#db.pragma('wal_checkpoint(PASSIVE)');
  }

  close(): void {
    this.#db.close();
  }

  #run(sql: string, ...values: unknown[]): { changes: number; id: number } {
    const { changes, lastInsertRowid } = this.#prepare(sql).run(...values);
    return { changes, id: Number(lastInsertRowid) };
  }

  #row<Row>(sql: string, ...values: unknown[]): Row | undefined {
    return this.#prepare(sql).get(...values) as Row | undefined;
  }

  #rows<Row>(sql: string, ...values: unknown[]): Row[] {
    return this.#prepare(sql).all(...values) as Row[];
  }

  #prepare(sql: string): Statement<unknown[]> {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare<unknown[]>(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #readDataVersion(): number {
    return Number(this.#db.pragma('data_version', { simple: true }));
  }

  #readCounters(): Counters {
    const counters = this.#row<Counters>('SELECT * FROM counters');
    if (counters === undefined) throw new IsenError('Database', 'The counters are missing');
    return counters;
  }

  #writeCounters(): void {
    const c = this.#counters;
    this.#run(
      `UPDATE counters SET patients = ?, studies = ?, series = ?, instances = ?, disk_size = ?, uncompressed_size = ?,
       dicom_disk_size = ?, dicom_uncompressed_size = ?, seq = ?, recycling = ?`,
      c.patients,
      c.studies,
      c.series,
      c.instances,
      c.disk_size,
      c.uncompressed_size,
      c.dicom_disk_size,
      c.dicom_uncompressed_size,
      c.seq,
      c.recycling,
    );
  }

  /** Drops everything held, so that the rows alone speak. */
  #forget(): void {
    this.#parents.clear();
    this.#touched.clear();
    this.#counters = this.#readCounters();
  }

  #apply(operation: OperationRecord): Outcome {
    if (operation.kind === 'store') return this.#store(operation);
    // The others read and delete rows that the stores before them in this batch have yet to bring up to date.
    this.#flush();
    switch (operation.kind) {
      case 'delete': {
        const row = this.#resource(operation.level, operation.id);
        return row === undefined ? unknown : { kind: 'deleted', remaining: this.#delete(operation.level, row.id) };
      }
      case 'protect':
        return this.#protect(operation);
      case 'metadata':
        return this.#setMetadata(operation);
      case 'attachment':
        return this.#setAttachment(operation);
      case 'label':
        return this.#setLabel(operation);
      case 'stabilize':
        return { kind: 'stabilized', count: this.#stabilize(operation) };
      case 'property':
        if (operation.value === undefined) this.#run('DELETE FROM properties WHERE name = ?', operation.name);
        else this.#run('INSERT OR REPLACE INTO properties VALUES (?, ?)', operation.name, operation.value);
        return done;
      case 'forget':
        for (const uuid of operation.uuids) {
          this.#run('DELETE FROM removals WHERE uuid = ?', Buffer.from(uuid.replaceAll('-', ''), 'hex'));
        }
        return done;
      case 'clear-changes':
        this.#run('DELETE FROM changes');
        return done;
    }
  }

  #log(type: ChangeType, level: Level, id: string, bytes: Buffer): void {
    const seq = ++this.#counters.seq;
    const seconds = Math.floor(this.#now / 1000);
    this.#run(
      'INSERT INTO changes VALUES (?, ?, ?, ?, ?)',
      seq,
      CHANGE_TYPES.indexOf(type),
      levelNumber(level),
      bytes,
      seconds,
    );
    this.#changes.push({ seq, type, level, id, date: dateText(seconds) });
  }

  #resource(level: Level, id: string): { readonly id: number; readonly bytes: Buffer } | undefined {
    const bytes = publicIdBytes(id);
    if (bytes === undefined) return undefined;
    const row = this.#row<{ id: number }>(`SELECT id FROM ${TABLE[level]} WHERE public_id = ?`, bytes);
    return row === undefined ? undefined : { id: row.id, bytes };
  }

  // --- storing ---------------------------------------------------------------------------------------------------

  #store(record: StoreRecord): Outcome {
    const ids = LEVELS.map((_, index) => record.ids.slice(index * 44, index * 44 + 44));
    const [patientId = '', , , instanceId = ''] = ids;
    const bytes = ids.map((id) => {
      const found = publicIdBytes(id);
      if (found === undefined) throw new IsenError('ParameterOutOfRange', 'Not a public identifier');
      return found;
    });
    const [, , , instanceBytes = Buffer.alloc(0)] = bytes;
    const file = attachmentValues(record.attachment);
    const size = record.attachment.compressedSize;

    // With limits or overwriting the row is looked for first; else the insertion itself says whether it was there.
    const limited = this.#limits.maximumStorageSize > 0 || this.#limits.maximumPatientCount > 0;
    if (limited || record.overwrite !== 'Never') {
      const there = this.#row<{ id: number; size: number; md5: Buffer | null }>(
        'SELECT id, size, md5 FROM instances WHERE public_id = ?',
        instanceBytes,
      );
      if (there !== undefined) {
        const same = there.size === file[1] && (there.md5?.equals(file[2] ?? Buffer.alloc(0)) ?? file[2] === null);
        if (record.overwrite === 'Never' || (record.overwrite === 'IfChanged' && same)) {
          return { kind: 'stored', status: 'AlreadyStored' };
        }
        return this.#overwrite(record, ids, bytes, there.id);
      }
      if (limited && !this.#makeRoom(size, patientId)) return { kind: 'refused', error: 'FullStorage' };
    }

    const fresh: Level[] = [];
    let parent: Parent | undefined;
    const parents: Parent[] = [];
    for (const [index, level] of PARENT_LEVELS.entries()) {
      const id = ids[index] ?? '';
      let known: Parent | undefined = this.#parent(level, id, bytes[index]);
      if (known === undefined) {
        known = this.#insertParent(level, id, bytes[index], parent?.id ?? 0, record);
        fresh.push(level);
      }
      parents.push(known);
      parent = known;
    }
    const series = parent as Parent;
    if (!this.#insertInstance(record, instanceBytes, series.id, file)) {
      return { kind: 'stored', status: 'AlreadyStored' };
    }
    for (const each of parents) this.#touched.add(each);
    this.#log('NewInstance', 'Instance', instanceId, instanceBytes);
    for (const level of fresh.reverse()) {
      const index = levelNumber(level);
      this.#log(`New${level}`, level, ids[index] ?? '', bytes[index] ?? Buffer.alloc(0));
    }
    if (series.completeness !== undefined) series.completeness.present++;
    this.#logIfComplete(series, ids[2] ?? '', bytes[2]);
    return { kind: 'stored', status: 'Success' };
  }

  /** False when the instance was there already. */
  #insertInstance(
    record: StoreRecord,
    bytes: Buffer,
    series: number,
    file: ReturnType<typeof attachmentValues>,
  ): boolean {
    const uid = record.sopInstanceUid;
    const { changes } = this.#run(
      `INSERT INTO instances (public_id, parent, uuid, size, md5, compressed_size, compressed_md5, compression, revision,
       sop_instance_uid, tags, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?) ON CONFLICT (public_id) DO NOTHING`,
      bytes,
      series,
      ...file,
      uid === undefined ? null : normalise(uid),
      record.tags[3],
      record.metadata[3],
    );
    if (changes === 0) return false;
    const { compressedSize, uncompressedSize } = record.attachment;
    this.#counters.instances++;
    this.#account(1, compressedSize, uncompressedSize, true);
    return true;
  }

  #account(sign: 1 | -1, diskSize: number, uncompressedSize: number, dicom: boolean): void {
    this.#counters.disk_size += sign * diskSize;
    this.#counters.uncompressed_size += sign * uncompressedSize;
    if (!dicom) return;
    this.#counters.dicom_disk_size += sign * diskSize;
    this.#counters.dicom_uncompressed_size += sign * uncompressedSize;
  }

  #parent(level: Level, id: string, bytes: Buffer | undefined): Parent | undefined {
    const held = this.#parents.get(id);
    if (held?.level === level) {
      // The order of the map is that of last use.
      this.#parents.delete(id);
      this.#parents.set(id, held);
      return held;
    }
    const parent = level === 'Patient' ? '0' : 'parent';
    const row = this.#row<{ id: number; parent: number; metadata: string }>(
      `SELECT id, ${parent} AS parent, metadata FROM ${TABLE[level]} WHERE public_id = ?`,
      bytes,
    );
    if (row === undefined) return undefined;
    const found: Parent = {
      id: row.id,
      level,
      parent: row.parent,
      completeness: level === 'Series' ? this.#completeness(row.id, row.metadata) : undefined,
    };
    this.#hold(id, found);
    return found;
  }

  #hold(id: string, parent: Parent): void {
    this.#parents.set(id, parent);
    if (this.#parents.size <= HELD_PARENTS) return;
    const [oldest] = this.#parents.keys();
    if (oldest !== undefined) this.#parents.delete(oldest);
  }

  #completeness(series: number, metadata: string): Parent['completeness'] {
    const text = (JSON.parse(metadata) as Record<string, string>)['ExpectedNumberOfInstances'];
    if (text === undefined) return undefined;
    const row = this.#row<{ count: number }>('SELECT count(*) AS count FROM instances WHERE parent = ?', series);
    return { expected: Number(text), present: row?.count ?? 0 };
  }

  #parentColumns(level: Level, record: StoreRecord): { names: string[]; values: (string | null)[] } {
    const index = levelNumber(level);
    const tags = JSON.parse(record.tags[index] ?? '{}') as Record<string, string>;
    let metadata = record.metadata[index] ?? '{}';
    if (level === 'Series' && record.remoteAET !== undefined) {
      metadata = JSON.stringify({ ...(JSON.parse(metadata) as object), RemoteAET: record.remoteAET });
    }
    const names = ['tags', 'metadata'];
    const values: (string | null)[] = [record.tags[index] ?? '{}', metadata];
    for (const [column, tag] of Object.entries(IDENTIFIERS[level])) {
      const value = tags[tag];
      names.push(column);
      values.push(value === undefined ? null : normalise(value));
    }
    return { names, values };
  }

  #insertParent(level: Level, id: string, bytes: Buffer | undefined, parent: number, record: StoreRecord): Parent {
    const { names, values } = this.#parentColumns(level, record);
    // Its times, and a patient's place in the order of recycling, are written by the flush of this batch.
    const columns = ['public_id', ...(level === 'Patient' ? ['recycling'] : ['parent']), 'last_update', ...names];
    const { id: row } = this.#run(
      `INSERT INTO ${TABLE[level]} (${columns.join()}) VALUES (${columns.map(() => '?').join()})`,
      bytes,
      parent,
      0,
      ...values,
    );
    this.#counters[COUNTER[level]]++;
    const created: Parent = {
      id: row,
      level,
      parent,
      completeness: level === 'Series' ? this.#completeness(row, values[1] ?? '{}') : undefined,
    };
    this.#hold(id, created);
    return created;
  }

  /** Replaces an instance. Ancestors that hold nothing else take the new file's tags too. */
  #overwrite(record: StoreRecord, ids: readonly string[], bytes: readonly Buffer[], row: number): Outcome {
    this.#flush();
    this.#deleteExtras('Instance', row);
    this.#removeFiles('Instance', row);
    this.#run('DELETE FROM instances WHERE id = ?', row);
    this.#counters.instances--;
    const [, , seriesId = '', instanceId = ''] = ids;
    const [, , seriesBytes, instanceBytes = Buffer.alloc(0)] = bytes;
    const series = this.#parent('Series', seriesId, seriesBytes);
    if (series === undefined) throw new IsenError('Database', 'An instance has no series');
    this.#insertInstance(record, instanceBytes, series.id, attachmentValues(record.attachment));
    this.#log('NewInstance', 'Instance', instanceId, instanceBytes);

    let only = true;
    for (const [index, level] of [...PARENT_LEVELS.entries()].reverse()) {
      const parent = this.#parent(level, ids[index] ?? '', bytes[index]);
      const child = LEVEL[level].child;
      if (parent === undefined || child === undefined) throw new IsenError('Database', 'An instance has no ancestors');
      this.#touched.add(parent);
      only &&= this.#rows(`SELECT 1 FROM ${TABLE[child]} WHERE parent = ? LIMIT 2`, parent.id).length === 1;
      if (!only) continue;
      const { names, values } = this.#parentColumns(level, record);
      const set = names.map((name) => `${name} = ?`).join();
      this.#run(`UPDATE ${TABLE[level]} SET ${set} WHERE id = ?`, ...values, parent.id);
      if (level === 'Series') parent.completeness = this.#completeness(parent.id, values[1] ?? '{}');
    }
    this.#logIfComplete(series, seriesId, seriesBytes);
    return { kind: 'stored', status: 'Success' };
  }

  /** A series is complete when its instances have the indexes 1 to the expected number, each once. */
  #logIfComplete(series: Parent, id: string, bytes: Buffer | undefined): void {
    const { completeness } = series;
    if (completeness === undefined || completeness.present !== completeness.expected) return;
    const row = this.#row<{ distinct_: number }>(
      `SELECT count(DISTINCT CAST(metadata ->> 'IndexInSeries' AS INTEGER)) AS distinct_ FROM instances
       WHERE parent = ? AND CAST(metadata ->> 'IndexInSeries' AS INTEGER) BETWEEN 1 AND ?`,
      series.id,
      completeness.expected,
    );
    if (row?.distinct_ === completeness.expected) {
      this.#log('CompletedSeries', 'Series', id, bytes ?? Buffer.alloc(0));
    }
  }

  /** Writes the times of the parents that got instances, once for all of those. */
  #flush(): void {
    const seconds = Math.floor(this.#now / 1000);
    const deadline = this.#now + this.#limits.stableAge;
    for (const { level, id } of this.#touched) {
      if (level === 'Patient') {
        this.#run(
          `UPDATE patients SET last_update = ?, stable_at = ?, recycling = CASE WHEN recycling IS NOT NULL THEN ? END
           WHERE id = ?`,
          seconds,
          deadline,
          ++this.#counters.recycling,
          id,
        );
      } else {
        this.#run(`UPDATE ${TABLE[level]} SET last_update = ?, stable_at = ? WHERE id = ?`, seconds, deadline, id);
      }
    }
    this.#touched.clear();
  }

  // --- recycling -------------------------------------------------------------------------------------------------

  /** Deletes unprotected patients, oldest first, until `size` bytes fit; changes nothing and is false when they cannot. */
  #makeRoom(size: number, patientId: string, isNew = true): boolean {
    const { maximumStorageSize, maximumPatientCount, mode } = this.#limits;
    const patient = this.#resource('Patient', patientId);
    const newPatients = isNew && patient === undefined ? 1 : 0;
    const fits = (): boolean =>
      (maximumStorageSize === 0 || this.#counters.disk_size + size <= maximumStorageSize) &&
      (maximumPatientCount === 0 || this.#counters.patients + newPatients <= maximumPatientCount || newPatients === 0);
    if (fits()) return true;
    if (mode === 'Reject' || (maximumStorageSize > 0 && size > maximumStorageSize)) return false;
    this.#flush();
    const [changes, removals] = [this.#changes.length, this.#removals.length];
    this.#writeCounters();
    this.#db.exec('SAVEPOINT room');
    while (!fits()) {
      const oldest = this.#row<{ id: number }>(
        'SELECT id FROM patients WHERE recycling IS NOT NULL AND id <> ? ORDER BY recycling LIMIT 1',
        patient?.id ?? -1,
      );
      if (oldest === undefined) {
        this.#db.exec('ROLLBACK TO room; RELEASE room');
        this.#forget();
        this.#changes.length = changes;
        this.#removals.length = removals;
        return false;
      }
      this.#delete('Patient', oldest.id);
    }
    this.#db.exec('RELEASE room');
    return true;
  }

  #protect({ id, protected: wanted }: ProtectOperation): Outcome {
    const patient = this.#resource('Patient', id);
    if (patient === undefined) return unknown;
    if (wanted) this.#run('UPDATE patients SET recycling = NULL WHERE id = ?', patient.id);
    else {
      // A patient that is given free again goes last.
      const next = this.#counters.recycling + 1;
      if (this.#run('UPDATE patients SET recycling = ? WHERE id = ? AND recycling IS NULL', next, patient.id).changes) {
        this.#counters.recycling = next;
      }
    }
    return done;
  }

  // --- deleting --------------------------------------------------------------------------------------------------

  #delete(level: Level, row: number): Remaining | undefined {
    this.#parents.clear();
    let top = level;
    let id = row;
    let remaining: Remaining | undefined;
    // Up to the highest ancestor that would be left empty.
    for (let up = LEVEL[top].parent; up !== undefined; up = LEVEL[up].parent) {
      const parent = this.#row<{ id: number; public_id: Buffer; others: number }>(
        `SELECT p.id, p.public_id, EXISTS (SELECT 1 FROM ${TABLE[top]} o WHERE o.parent = p.id AND o.id <> c.id) AS others
         FROM ${TABLE[top]} c JOIN ${TABLE[up]} p ON p.id = c.parent WHERE c.id = ?`,
        id,
      );
      if (parent === undefined) throw new IsenError('Database', 'A resource has no parent');
      if (parent.others === 1) {
        remaining = { level: up, id: publicId(parent.public_id.toString('hex')) };
        break;
      }
      top = up;
      id = parent.id;
    }
    const levels = LEVELS.slice(LEVELS.indexOf(top)).reverse();
    for (const each of levels) this.#deleteExtras(top, id, each);
    this.#removeFiles(top, id);
    // Children are logged and deleted before their parents.
    for (const each of levels) {
      const gone = this.#rows<{ public_id: Buffer }>(
        `SELECT public_id FROM ${TABLE[each]} WHERE id IN (${below(top, each)}) ORDER BY id`,
        id,
      );
      for (const { public_id } of gone) this.#log('Deleted', each, publicId(public_id.toString('hex')), public_id);
      this.#counters[COUNTER[each]] -= gone.length;
    }
    for (const each of levels) this.#run(`DELETE FROM ${TABLE[each]} WHERE id IN (${below(top, each)})`, id);
    return remaining;
  }

  /** Deletes labels, set metadata and user attachments of the rows of `bottom` below the row of `top`. */
  #deleteExtras(top: Level, id: number, bottom: Level = top): void {
    const number = levelNumber(bottom);
    const where = `level = ${number} AND resource IN (${below(top, bottom)})`;
    const files = this.#rows<{ uuid: Buffer; size: number; disk: number }>(
      `SELECT uuid, size, ifnull(compressed_size, size) AS disk FROM attachments WHERE ${where}`,
      id,
    );
    for (const { uuid, size, disk } of files) {
      this.#remove(uuid);
      this.#account(-1, disk, size, false);
    }
    for (const table of ['attachments', 'metadata', 'labels']) this.#run(`DELETE FROM ${table} WHERE ${where}`, id);
  }

  /** Lists the DICOM files below a row as to be removed. */
  #removeFiles(top: Level, id: number): void {
    const files = this.#rows<{ uuid: Buffer; size: number; disk: number }>(
      `SELECT uuid, size, ifnull(compressed_size, size) AS disk FROM instances WHERE id IN (${below(top, 'Instance')})`,
      id,
    );
    for (const { uuid, size, disk } of files) {
      this.#remove(uuid);
      this.#account(-1, disk, size, true);
    }
  }

  #remove(uuid: Buffer): void {
    this.#run('INSERT OR IGNORE INTO removals VALUES (?)', uuid);
    this.#removals.push(uuidText(uuid.toString('hex')));
  }

  // --- what users add --------------------------------------------------------------------------------------------

  #setMetadata({ level, id, name, value, revision }: MetadataOperation): Outcome {
    const resource = this.#resource(level, id);
    if (resource === undefined) return unknown;
    const key = [levelNumber(level), resource.id, name];
    const set = this.#row<{ revision: number }>(
      'SELECT revision FROM metadata WHERE level = ? AND resource = ? AND name = ?',
      ...key,
    );
    const inRow = this.#row(
      `SELECT 1 FROM ${TABLE[level]} r, json_each(r.metadata) m WHERE r.id = ? AND m.key = ?`,
      resource.id,
      name,
    );
    const current = set?.revision ?? (inRow === undefined ? undefined : 0);
    if (current !== undefined && revision !== undefined && revision !== current) {
      return { kind: 'refused', error: 'Revision' };
    }
    let next = 0;
    if (value !== undefined) {
      next = current === undefined ? 0 : current + 1;
      this.#run('INSERT OR REPLACE INTO metadata VALUES (?, ?, ?, ?, ?)', ...key, value, next);
    } else {
      if (current === undefined) return unknown;
      this.#run('DELETE FROM metadata WHERE level = ? AND resource = ? AND name = ?', ...key);
      if (inRow !== undefined) {
        const row = this.#row<{ metadata: string }>(`SELECT metadata FROM ${TABLE[level]} WHERE id = ?`, resource.id);
        const { [name]: _, ...rest } = JSON.parse(row?.metadata ?? '{}') as Record<string, string>;
        this.#run(`UPDATE ${TABLE[level]} SET metadata = ? WHERE id = ?`, JSON.stringify(rest), resource.id);
      }
      next = current;
    }
    if (!isBuiltInMetadata(name)) this.#log('UpdatedMetadata', level, id, resource.bytes);
    return { kind: 'written', revision: next };
  }

  #setAttachment({ level, id, contentType, attachment, revision }: AttachmentOperation): Outcome {
    const resource = this.#resource(level, id);
    if (resource === undefined) return unknown;
    // The DICOM file lies in the row of its instance.
    const dicom = contentType === 1 && level === 'Instance';
    const where = dicom
      ? 'instances WHERE id = ?'
      : 'attachments WHERE level = ? AND resource = ? AND content_type = ?';
    const key = dicom ? [resource.id] : [levelNumber(level), resource.id, contentType];
    const old = this.#row<{ uuid: Buffer; size: number; disk: number; revision: number }>(
      `SELECT uuid, size, ifnull(compressed_size, size) AS disk, revision FROM ${where}`,
      ...key,
    );
    if (old !== undefined && revision !== undefined && revision !== old.revision) {
      return { kind: 'refused', error: 'Revision' };
    }
    if (attachment === undefined && old === undefined) return unknown;
    const growth = (attachment?.compressedSize ?? 0) - (old?.disk ?? 0);
    if (growth > 0 && !this.#makeRoom(growth, this.#patientOf(level, resource.id), false)) {
      return { kind: 'refused', error: 'FullStorage' };
    }
    if (old !== undefined) {
      this.#remove(old.uuid);
      this.#account(-1, old.disk, old.size, dicom);
    }
    const next = old === undefined ? 0 : old.revision + (attachment === undefined ? 0 : 1);
    if (attachment === undefined) this.#run(`DELETE FROM ${where}`, ...key);
    else {
      const values = attachmentValues(attachment);
      this.#account(1, attachment.compressedSize, attachment.uncompressedSize, dicom);
      if (dicom) {
        this.#run(
          `UPDATE instances SET uuid = ?, size = ?, md5 = ?, compressed_size = ?, compressed_md5 = ?, compression = ?,
           revision = ? WHERE id = ?`,
          ...values,
          next,
          resource.id,
        );
      } else {
        this.#run('INSERT OR REPLACE INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', ...key, ...values, next);
      }
    }
    if (contentType >= FIRST_USER_ATTACHMENT) this.#log('UpdatedAttachment', level, id, resource.bytes);
    return { kind: 'written', revision: next };
  }

  #patientOf(level: Level, row: number): string {
    let id = row;
    for (let at = level; ; ) {
      const up = LEVEL[at].parent;
      if (up === undefined) break;
      id = this.#row<{ parent: number }>(`SELECT parent FROM ${TABLE[at]} WHERE id = ?`, id)?.parent ?? -1;
      at = up;
    }
    const patient = this.#row<{ public_id: Buffer }>('SELECT public_id FROM patients WHERE id = ?', id);
    return publicId(patient?.public_id.toString('hex') ?? '');
  }

  #setLabel({ level, id, label, present }: LabelOperation): Outcome {
    const resource = this.#resource(level, id);
    if (resource === undefined) return unknown;
    const sql = present
      ? 'INSERT OR IGNORE INTO labels VALUES (?, ?, ?)'
      : 'DELETE FROM labels WHERE level = ? AND resource = ? AND label = ?';
    this.#run(sql, levelNumber(level), resource.id, label);
    return { kind: 'written', revision: 0 };
  }

  #stabilize({ now, limit }: StabilizeOperation): number {
    let count = 0;
    for (const level of [...PARENT_LEVELS].reverse()) {
      const due = this.#rows<{ id: number; public_id: Buffer }>(
        `SELECT id, public_id FROM ${TABLE[level]} WHERE stable_at <= ? ORDER BY stable_at, id LIMIT ?`,
        now,
        limit - count,
      );
      for (const { id, public_id } of due) {
        this.#run(`UPDATE ${TABLE[level]} SET stable_at = NULL WHERE id = ?`, id);
        this.#log(`Stable${level}`, level, publicId(public_id.toString('hex')), public_id);
      }
      count += due.length;
    }
    return count;
  }
}
