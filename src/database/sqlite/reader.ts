/**
 * Owns the read connection, on the main thread: single statements are synchronous and short; whatever could be long is
 * cut into pieces between which the event loop turns.
 */

import { setImmediate as turn } from 'node:timers/promises';
import type { Database as Connection, Statement } from 'better-sqlite3';
import { LEVELS, type Level } from '../../dicom/levels.ts';
import { IsenError } from '../../errors.ts';
import {
  CHANGE_TYPES,
  type Change,
  type ChangesRequest,
  type CountRequest,
  type FindRequest,
  type Found,
  MOST_IDS,
  type Remaining,
  type Statistics,
} from '../database.ts';
import { matchesWildcard, normalise } from '../../dicom/match.ts';
import { foldCase, isPlain } from '../find.ts';
import { bareFound, foundOf } from '../found.ts';
import { type ChangeRow, changeOf, levelNumber, publicId, publicIdBytes, TABLE, uuidText } from '../rows.ts';
import { LIMIT, asDatabaseError, openReader } from './connection.ts';
import { countMatches, findMatches, type Narrow, narrowSearch } from './matching.ts';
import { foundRows, type Selection, selectionOf } from './resources.ts';
import { uuidBytes } from './rows.ts';

/** Resources read by one statement: some 5 ms. */
const PAGE = 200;
/** Rows that one statement looks through. */
const WINDOW = 2000;
/** Prepared statements held. */
const HELD_STATEMENTS = 256;

const NEW_INSTANCE = CHANGE_TYPES.indexOf('NewInstance');

export class Reader {
  readonly #db: Connection;
  readonly #statements = new Map<string, Statement<unknown[]>>();
  #turns: Promise<void> = Promise.resolve();
  #closing = false;

  constructor(path: string) {
    this.#db = openReader(path);
    const deterministic = { deterministic: true };
    this.#db.function('normalise', deterministic, (value: unknown) =>
      typeof value === 'string' ? normalise(value) : null,
    );
    this.#db.function('fold_case', deterministic, (value: unknown) =>
      typeof value === 'string' ? foldCase(value) : null,
    );
    this.#db.function('wildcard', deterministic, (value: unknown, pattern: unknown) =>
      typeof value === 'string' && typeof pattern === 'string' ? Number(matchesWildcard(value, pattern)) : null,
    );
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#db.close();
  }

  /** Long searches take turns: together they do one window a turn of the event loop, whatever their number. */
  async turn(): Promise<void> {
    this.#turns = this.#turns.then(() => turn());
    await this.#turns;
    if (this.#closing) throw new IsenError('DatabaseUnavailable', 'The index is being closed');
  }

  async find(request: FindRequest): Promise<readonly Found[]> {
    const { level, id, limit = Number.POSITIVE_INFINITY, since = 0 } = request;
    if (limit <= 0) return [];
    if (id !== undefined && isPlain(request)) {
      const bytes = publicIdBytes(id);
      return bytes === undefined || since > 0 ? [] : this.#resources(request, 'r.public_id = ?', bytes);
    }
    if (request.ids !== undefined) return this.#named(request, request.ids);
    const narrow = request.idsOnly === true ? undefined : narrowSearch(request, PAGE);
    const few = narrow && this.#few(request, narrow);
    if (few !== undefined) {
      const { after = '' } = request;
      return few
        .filter((each) => each.id > after)
        .sort((a, b) => (a.id < b.id ? -1 : 1))
        .slice(since, since + limit);
    }
    const matches = await findMatches(this, request);
    const found: Found[] = [];
    const size = request.idsOnly === true ? WINDOW : PAGE;
    for (let at = 0; at < matches.length; at += size) {
      if (at > 0) await this.turn();
      const page = matches.slice(at, at + size);
      if (request.idsOnly === true) {
        for (const match of page) found.push(bareFound(level, publicId(match.key)));
      } else {
        const rows = JSON.stringify(page.map((match) => match.id));
        const resources = this.#resources(request, 'r.id IN (SELECT value FROM json_each(?))', rows);
        const byId = new Map(resources.map((each) => [each.id, each]));
        // One by one, as resources may have gone and their row ids been given away since they matched.
        for (const { key } of page) {
          const each = byId.get(publicId(key));
          if (each !== undefined) found.push(each);
        }
      }
    }
    return found;
  }

  /** Resources by their ids, a page a turn of the event loop. */
  async #named(request: FindRequest, ids: readonly string[]): Promise<Found[]> {
    if (ids.length > MOST_IDS) throw new IsenError('ParameterOutOfRange', 'too many ids');
    const hex = ids.filter((id) => publicIdBytes(id) !== undefined).map((id) => id.replaceAll('-', ''));
    const found: Found[] = [];
    for (let at = 0; at < hex.length; at += PAGE) {
      if (at > 0) await this.turn();
      const page = JSON.stringify(hex.slice(at, at + PAGE));
      found.push(...this.#resources(request, 'r.public_id IN (SELECT unhex(value) FROM json_each(?))', page));
    }
    return found.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  count(request: CountRequest): Promise<number> {
    return countMatches(this, request);
  }

  #resources(request: FindRequest, where: string, ...values: unknown[]): Found[] {
    if (request.idsOnly === true) {
      const sql = `SELECT r.public_id FROM ${TABLE[request.level]} r WHERE ${where}`;
      const rows = this.all<{ public_id: Buffer }>(sql, ...values);
      return rows.map((row) => bareFound(request.level, publicId(row.public_id.toString('hex'))));
    }
    const selection = selectionOf(request);
    const sql = (): string => `SELECT ${selection.rows} FROM ${selection.from} WHERE ${where}`;
    return this.#read(request, selection, where, sql, values);
  }

  /** Those that match, in no order, by one statement; undefined where its index leads to too many rows. */
  #few(request: FindRequest, { rows, most, where }: Narrow): Found[] | undefined {
    const selection = selectionOf(request);
    const sql = (): string =>
      `WITH few AS MATERIALIZED (${rows.sql}) SELECT ${selection.rows} FROM few CROSS JOIN ${selection.from}
       WHERE (SELECT count(*) FROM few) <= ? AND r.id = few.id AND ${where.sql}`;
    const values = [...rows.values, most, ...where.values];
    const found = this.#read(request, selection, `few ${rows.sql} ${where.sql}`, sql, values);
    if (found.length > 0) return found;
    const count = this.get<{ count: number }>(`SELECT count(*) AS count FROM (${rows.sql})`, ...rows.values)?.count;
    return (count ?? 0) > most ? undefined : [];
  }

  /** What a statement reads; its whole text takes longer to be looked up than what is short of it, `which`. */
  #read(
    request: FindRequest,
    selection: Selection,
    which: string,
    sql: () => string,
    values: readonly unknown[],
  ): Found[] {
    try {
      const statement = this.#prepare(`${selection.key} ${which}`, () => this.#db.prepare<unknown[]>(sql()).pluck());
      const rows = foundRows(selection, statement.get(...values) as string | null);
      return rows.map((row) => foundOf(request, row));
    } catch (error) {
      throw asDatabaseError(error);
    }
  }

  lookup(value: string): readonly Remaining[] {
    const columns: readonly [Level, string][] = [
      ['Patient', 'patient_id'],
      ['Study', 'study_instance_uid'],
      ['Study', 'accession_number'],
      ['Series', 'series_instance_uid'],
      ['Instance', 'sop_instance_uid'],
    ];
    const sql = columns.map(
      ([level, column]) =>
        `SELECT ${levelNumber(level)} AS level, hex(public_id) AS id FROM ${TABLE[level]} WHERE ${column} = ?`,
    );
    const rows = this.all<{ level: number; id: string }>(
      `${sql.join(' UNION ')} ORDER BY 1, 2`,
      ...columns.map(() => normalise(value)),
    );
    return rows.map((row) => ({ level: LEVELS[row.level] ?? 'Patient', id: publicId(row.id) }));
  }

  statistics(of?: { readonly level: Level; readonly id: string }): Statistics | undefined {
    if (of === undefined) {
      return this.get<Statistics>(
        `SELECT patients, studies, series, instances, disk_size AS diskSize, uncompressed_size AS uncompressedSize,
         dicom_disk_size AS dicomDiskSize, dicom_uncompressed_size AS dicomUncompressedSize FROM counters`,
      );
    }
    const bytes = publicIdBytes(of.id);
    if (bytes === undefined) return undefined;
    const top = LEVELS.indexOf(of.level);
    const sets = LEVELS.map((level, index) => {
      if (index < top) return `at${index} (id) AS (SELECT 0 WHERE 0)`;
      if (index === top) return `at${index} (id) AS (SELECT id FROM ${TABLE[level]} WHERE public_id = ?)`;
      return `at${index} (id) AS (SELECT id FROM ${TABLE[level]} WHERE parent IN (SELECT id FROM at${index - 1}))`;
    });
    const row = this.get<Statistics & { known: number }>(
      `WITH ${sets.join()},
       files (size, disk, dicom) AS (
         SELECT size, ifnull(compressed_size, size), 1 FROM instances WHERE id IN (SELECT id FROM at3)
         ${LEVELS.map(
           (_, index) => `UNION ALL SELECT size, ifnull(compressed_size, size), 0 FROM attachments
             WHERE level = ${index} AND resource IN (SELECT id FROM at${index})`,
         ).join(' ')})
       SELECT (SELECT count(*) FROM at${top}) AS known, (SELECT count(*) FROM at0) AS patients,
         (SELECT count(*) FROM at1) AS studies, (SELECT count(*) FROM at2) AS series,
         (SELECT count(*) FROM at3) AS instances, total(disk) AS diskSize, total(size) AS uncompressedSize,
         total(disk) FILTER (WHERE dicom) AS dicomDiskSize, total(size) FILTER (WHERE dicom) AS dicomUncompressedSize
       FROM files`,
      bytes,
    );
    if (row === undefined || row.known === 0) return undefined;
    const { known: _, ...statistics } = row;
    return statistics;
  }

  async changes(request: ChangesRequest): Promise<{ changes: readonly Change[]; more: boolean }> {
    const { since, to, limit, types } = request;
    if (limit <= 0) return { changes: [], more: false };
    const backwards = to !== undefined && since === undefined;
    const numbers = types === undefined ? undefined : [...new Set(types.map((type) => CHANGE_TYPES.indexOf(type)))];
    const read = numbers?.every((type) => type !== NEW_INSTANCE) === true ? this.#byType : this.#bySeq;
    const rows = await read.call(this, numbers, since ?? 0, to ?? Number.MAX_SAFE_INTEGER, limit + 1, backwards);
    const more = rows.length > limit;
    const kept = rows.slice(0, limit);
    return { changes: (backwards ? kept.reverse() : kept).map(changeOf), more };
  }

  /** Types that have an index: at most `limit` rows of each, merged. */
  async #byType(types: readonly number[] | undefined, since: number, to: number, limit: number, backwards: boolean) {
    const order = backwards ? 'DESC' : 'ASC';
    const rows = (types ?? []).flatMap((type) =>
      this.#changeRows(
        `type = ${type} AND type <> ${NEW_INSTANCE} AND seq > ? AND seq <= ? ORDER BY seq ${order} ${LIMIT}`,
        since,
        to,
        limit,
      ),
    );
    return rows.sort((a, b) => (backwards ? b[0] - a[0] : a[0] - b[0])).slice(0, limit);
  }

  /** In order of Seq, filtered by type; one window a turn of the event loop. */
  async #bySeq(types: readonly number[] | undefined, since: number, to: number, limit: number, backwards: boolean) {
    const rows: ChangeRow[] = [];
    let [low, high] = [since, to];
    const order = backwards ? 'DESC' : 'ASC';
    for (;;) {
      const page = this.#changeRows(
        `seq > ? AND seq <= ? ORDER BY seq ${order} ${LIMIT}`,
        low,
        high,
        types === undefined ? Math.min(WINDOW, limit - rows.length) : WINDOW,
      );
      for (const row of page) if (types === undefined || types.includes(row[1])) rows.push(row);
      const last = page.at(-1);
      if (last === undefined || rows.length >= limit) return rows.slice(0, limit);
      if (backwards) high = last[0] - 1;
      else low = last[0];
      await this.turn();
    }
  }

  /** All rows in one JSON text: fetched one by one they cost twice as much. */
  #changeRows(condition: string, ...values: number[]): ChangeRow[] {
    const row = this.get<{ rows: string }>(
      `SELECT json_group_array(json_array(seq, type, level, hex(public_id), date)) AS rows
       FROM (SELECT * FROM changes WHERE ${condition})`,
      ...values,
    );
    return JSON.parse(row?.rows ?? '[]') as ChangeRow[];
  }

  lastSeq(): number {
    return this.get<{ seq: number }>('SELECT seq FROM counters')?.seq ?? 0;
  }

  labels(): string[] {
    return this.all<{ label: string }>('SELECT DISTINCT label FROM labels ORDER BY label').map(({ label }) => label);
  }

  property(name: string): string | undefined {
    return this.get<{ value: string }>('SELECT value FROM properties WHERE name = ?', name)?.value;
  }

  removals(limit: number): readonly string[] {
    const rows = this.all<{ uuid: string }>(`SELECT hex(uuid) AS uuid FROM removals ${LIMIT}`, limit);
    return rows.map((row) => uuidText(row.uuid));
  }

  /** Without an index, that every stored instance would pay for: newest rows first, until all are found. */
  async attached(uuids: readonly string[]): Promise<ReadonlySet<string>> {
    const wanted = new Set(uuids.map((uuid) => uuidBytes(uuid).toString('hex').toUpperCase()));
    const list = JSON.stringify([...wanted]);
    const found = new Set<string>();
    const take = (rows: readonly { uuid: string }[]): void => {
      for (const row of rows) found.add(uuidText(row.uuid));
    };
    take(
      this.all('SELECT hex(uuid) AS uuid FROM attachments WHERE uuid IN (SELECT unhex(value) FROM json_each(?))', list),
    );
    const last = this.get<{ id: number | null }>('SELECT max(id) AS id FROM instances')?.id ?? 0;
    for (let high = last; high > 0 && found.size < wanted.size; high -= WINDOW) {
      take(
        this.all(
          `SELECT hex(uuid) AS uuid FROM instances WHERE id <= ? AND id > ?
           AND uuid IN (SELECT unhex(value) FROM json_each(?))`,
          high,
          high - WINDOW,
          list,
        ),
      );
      await this.turn();
    }
    return found;
  }

  nextStable(): number | undefined {
    const row = this.get<{ at: number | null }>(
      `SELECT min(at) AS at FROM (${['patients', 'studies', 'series']
        .map((table) => `SELECT min(stable_at) AS at FROM ${table} WHERE stable_at IS NOT NULL`)
        .join(' UNION ALL ')})`,
    );
    return row?.at ?? undefined;
  }

  /** Every row of a statement. */
  all<Row>(sql: string, ...values: unknown[]): Row[] {
    try {
      return this.#prepare(sql).all(...values) as Row[];
    } catch (error) {
      throw asDatabaseError(error);
    }
  }

  /** Its first row. */
  get<Row>(sql: string, ...values: unknown[]): Row | undefined {
    try {
      return this.#prepare(sql).get(...values) as Row | undefined;
    } catch (error) {
      throw asDatabaseError(error);
    }
  }

  #prepare(sql: string, make = () => this.#db.prepare<unknown[]>(sql)): Statement<unknown[]> {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      if (this.#statements.size >= HELD_STATEMENTS) this.#statements.clear();
      statement = make();
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}
