/** Owns reading: one statement an answer about resources, long lists and searches in pieces. */

import type pg from 'pg';
import { LEVELS, type Level } from '../../dicom/levels.ts';
import { normalise } from '../../dicom/match.ts';
import { IsenError } from '../../errors.ts';
import {
  type CountRequest,
  type FindRequest,
  type Found,
  MOST_IDS,
  type Remaining,
  type Statistics,
} from '../database.ts';
import { isPlain } from '../find.ts';
import { bareFound, type FoundRow, foundOf } from '../found.ts';
import { levelNumber, publicId, isPublicId, publicIdBytes, TABLE } from '../rows.ts';
import { asDatabaseError, prepared, type Query } from './connection.ts';
import { selectResources } from './resources.ts';
import { type Candidate, type Search, searchOf, statement } from './search.ts';

import { text, uuidText, hexOf } from './values.ts';

/** Resources read by one statement: some 10 ms. */
const PAGE = 200;
/** Ids read by one statement. */
const IDS = 10_000;
/** Rows that one statement looks through. */
const WINDOW = 5000;
/** Rows of an index beyond which looking through the table in order of id finds the first matches sooner. */
const FEW = 20_000;

/** A row of which the JSON columns, all that is text but for the ids, came as text. */
function parsed(row: Readonly<Record<string, unknown>>): FoundRow {
  const values = Object.entries(row).map(([name, value]): [string, unknown] => [
    name,
    typeof value === 'string' && name !== 'id' && name !== 'parent' ? JSON.parse(value) : value,
  ]);
  return Object.fromEntries(values) as unknown as FoundRow;
}

export class Reader {
  readonly #pool: pg.Pool;
  readonly query: Query;

  constructor(pool: pg.Pool) {
    this.#pool = pool;
    this.query = async <Row extends object>(sql: string, values: readonly unknown[]) =>
      this.#run<Row>(prepared(sql, values));
  }

  async #run<Row extends object>(config: { name?: string; text: string; values: unknown[] }): Promise<Row[]> {
    try {
      return (await this.#pool.query<Row & pg.QueryResultRow>(config)).rows;
    } catch (thrown) {
      throw asDatabaseError(thrown);
    }
  }

  async find(request: FindRequest): Promise<readonly Found[]> {
    const { id, since = 0, limit = Number.POSITIVE_INFINITY } = request;
    const after = request.after === undefined ? '' : publicIdBytes(request.after)?.toString('hex');
    if (limit <= 0 || after === undefined) return [];
    const plain = isPlain(request);
    if (plain && id !== undefined) {
      const bytes = publicIdBytes(id)?.toString('hex');
      return bytes === undefined || since > 0 || bytes <= after
        ? []
        : this.#resources(request, `r.public_id = decode($1, 'hex')`, [bytes]);
    }
    if (request.ids !== undefined) return this.#named(request, request.ids);
    if (plain && (request.orderBy ?? []).length === 0) return this.#list(request, after, since, limit);
    const matches = await this.#matches(request, after, since, limit);
    if (request.idsOnly === true) return matches.map(([, hex]) => bareFound(request.level, publicId(hex)));
    const found: Found[] = [];
    for (let at = 0; at < matches.length; at += PAGE) {
      const page = matches.slice(at, at + PAGE).map(([row]) => row);
      const sql = 'r.id = ANY ($1::bigint[]) ORDER BY array_position($1::bigint[], r.id)';
      found.push(...(await this.#resources(request, sql, [page])));
    }
    return found;
  }

  /** Resources by their ids. */
  async #named(request: FindRequest, ids: readonly string[]): Promise<Found[]> {
    if (ids.length > MOST_IDS) throw new IsenError('ParameterOutOfRange', 'too many ids');
    const wanted = [...new Set(ids.filter(isPublicId).map(hexOf))].sort();
    const found: Found[] = [];
    for (let at = 0; at < wanted.length; at += PAGE) {
      const page = wanted.slice(at, at + PAGE);
      const sql = `r.public_id = ANY (ARRAY(SELECT decode(unnest($1::text[]), 'hex'))) ORDER BY r.public_id`;
      found.push(...(await this.#resources(request, sql, [page])));
    }
    return found;
  }

  /** Every resource of a level. */
  async #list(request: FindRequest, start: string, since: number, limit: number): Promise<Found[]> {
    const found: Found[] = [];
    const size = request.idsOnly === true ? IDS : PAGE;
    let after = start;
    for (;;) {
      const wanted = Math.min(size, limit - found.length);
      const page = await this.#resources(
        request,
        `r.public_id > decode($1, 'hex') ORDER BY r.public_id OFFSET $2 LIMIT $3`,
        [after, found.length === 0 ? since : 0, wanted],
      );
      found.push(...page);
      const last = page.at(-1);
      if (last === undefined || page.length < wanted || found.length >= limit) return found;
      after = hexOf(last.id);
    }
  }

  async #resources(request: FindRequest, where: string, values: readonly unknown[]): Promise<Found[]> {
    if (request.idsOnly === true) {
      const sql = `SELECT encode(r.public_id, 'hex') AS id FROM ${TABLE[request.level]} r WHERE ${where}`;
      return (await this.query<{ id: string }>(sql, values)).map(({ id }) => bareFound(request.level, publicId(id)));
    }
    const rows = await this.query<Record<string, unknown>>(selectResources(request, where), values);
    return rows.map((row) => foundOf(request, parsed(row)));
  }

  async #matches(request: FindRequest, after: string, since: number, limit: number): Promise<readonly Candidate[]> {
    const plan = searchOf(request);
    if (plan === undefined) return [];
    const most = since + limit;
    if (plan.index !== undefined) {
      const bound = plan.index.bounded && most !== Number.POSITIVE_INFINITY ? FEW : Number.POSITIVE_INFINITY;
      const matches = await this.#candidates(plan, plan.index, after, bound, most);
      if (matches !== undefined) return matches.slice(since, most);
    }
    if ((request.orderBy ?? []).length > 0) return this.#inOrder(request.level, plan, since, limit);
    return (await this.#scan(request.level, plan, after, most)).slice(since, most);
  }

  /** The first `most` matches among the rows of an index, or undefined when these are more than `bound`. */
  async #candidates(
    plan: Search,
    index: NonNullable<Search['index']>,
    after: string,
    bound: number,
    most: number,
  ): Promise<readonly Candidate[] | undefined> {
    const keys = plan.order.map(({ value }, at) => `${value} AS k${at}`);
    const order = plan.order.map(({ direction }, at) => `k${at} ${direction}`).join();
    const { sql, values } = statement([
      `WITH seen AS MATERIALIZED (SELECT ${keys.join()}, `,
      { sql: `CASE WHEN ${plan.condition.sql} THEN ${plan.columns} END AS candidate`, values: plan.condition.values },
      index,
      { sql: `AND r.public_id > decode(?, 'hex')`, values: [after] },
      bound === Number.POSITIVE_INFINITY ? '' : `LIMIT ${bound + 1}`,
      `), matching AS (SELECT * FROM seen WHERE candidate IS NOT NULL ORDER BY ${order}`,
      plan.verifies || most === Number.POSITIVE_INFINITY ? '' : `LIMIT ${most}`,
      `) SELECT (SELECT count(*) FROM seen) AS seen,
         coalesce((SELECT json_agg(candidate ORDER BY ${order}) FROM matching), '[]') AS matches`,
    ]);
    const [row] = await this.#run<{ seen: number; matches: string }>({ text: sql, values });
    if (row === undefined || row.seen > bound) return undefined;
    return (JSON.parse(row.matches) as Candidate[]).filter(plan.verify);
  }

  /** Matches in the order asked for. */
  async #inOrder(level: Level, plan: Search, since: number, limit: number): Promise<readonly Candidate[]> {
    const order = plan.order.map(({ value, direction }) => `${value} ${direction}`).join();
    const page = async (offset: number, count: number): Promise<readonly Candidate[]> => {
      const { sql, values } = statement([
        `SELECT ${plan.columns} AS candidate FROM ${TABLE[level]} r ${plan.joins} WHERE`,
        plan.condition,
        `ORDER BY ${order} OFFSET ${offset}`,
        count === Number.POSITIVE_INFINITY ? '' : `LIMIT ${count}`,
      ]);
      const rows = await this.#run<{ candidate: string }>({ text: sql, values });
      return rows.map(({ candidate }) => JSON.parse(candidate) as Candidate);
    };
    if (!plan.verifies) return page(since, limit);
    const found: Candidate[] = [];
    // Which of them match is known only here: those that are to be skipped are looked at as well.
    for (let offset = 0; found.length < since + limit; offset += WINDOW) {
      const candidates = await page(offset, WINDOW);
      found.push(...candidates.filter(plan.verify));
      if (candidates.length < WINDOW) break;
    }
    return found.slice(since, since + limit);
  }

  async count(request: CountRequest): Promise<number> {
    const plan = searchOf(request);
    if (plan === undefined) return 0;
    if (plan.verifies) return (await this.#matches({ ...request }, '', 0, Number.POSITIVE_INFINITY)).length;
    if (isPlain(request)) {
      const sql = `SELECT ${TABLE[request.level]} AS count FROM counters`;
      return (await this.query<{ count: number }>(sql, []))[0]?.count ?? 0;
    }
    const from = plan.index ?? { sql: `FROM ${TABLE[request.level]} r ${plan.joins} WHERE true`, values: [] };
    const { sql, values } = statement([
      'SELECT count(*) AS count',
      from,
      { sql: `AND ${plan.condition.sql}`, values: plan.condition.values },
    ]);
    const [row] = await this.#run<{ count: number }>({ text: sql, values });
    return row?.count ?? 0;
  }

  /** Looks through the table in order of public id for `most` matches, one window a statement. */
  async #scan(level: Level, plan: Search, start: string, most: number): Promise<readonly Candidate[]> {
    const found: Candidate[] = [];
    for (let after = start; ; ) {
      const { sql, values } = statement([
        `SELECT count(*) AS seen, max(encode(r.public_id, 'hex') COLLATE "C") AS last,`,
        {
          sql: `coalesce(json_agg(${plan.columns} ORDER BY r.public_id) FILTER (WHERE ${plan.condition.sql}), '[]') AS matches`,
          values: plan.condition.values,
        },
        {
          sql: `FROM (SELECT * FROM ${TABLE[level]} WHERE public_id > decode(?, 'hex') ORDER BY public_id LIMIT ${WINDOW}) r`,
          values: [after],
        },
        plan.joins,
      ]);
      const [row] = await this.#run<{ seen: number; last: string | null; matches: string }>({ text: sql, values });
      if (row !== undefined) found.push(...(JSON.parse(row.matches) as Candidate[]).filter(plan.verify));
      if (row === undefined || row.last === null || row.seen < WINDOW || found.length >= most) return found;
      after = row.last;
    }
  }

  async lookup(value: string): Promise<readonly Remaining[]> {
    const columns: readonly [Level, string][] = [
      ['Patient', 'patient_id'],
      ['Study', 'study_instance_uid'],
      ['Study', 'accession_number'],
      ['Series', 'series_instance_uid'],
      ['Instance', 'sop_instance_uid'],
    ];
    const each = columns.map(
      ([level, column]) =>
        `SELECT ${levelNumber(level)} AS level, encode(public_id, 'hex') AS id FROM ${TABLE[level]} WHERE ${column} = $1`,
    );
    const rows = await this.query<{ level: number; id: string }>(`${each.join(' UNION ')} ORDER BY 1, 2`, [
      text(normalise(value)),
    ]);
    return rows.map((row) => ({ level: LEVELS[row.level] ?? 'Patient', id: publicId(row.id) }));
  }

  async statistics(of?: { readonly level: Level; readonly id: string }): Promise<Statistics | undefined> {
    if (of === undefined) {
      const [row] = await this.query<Statistics>(
        `SELECT patients, studies, series, instances, disk_size AS "diskSize", uncompressed_size AS "uncompressedSize",
         dicom_disk_size AS "dicomDiskSize", dicom_uncompressed_size AS "dicomUncompressedSize" FROM counters`,
        [],
      );
      return row;
    }
    if (!isPublicId(of.id)) return undefined;
    const top = LEVELS.indexOf(of.level);
    const sets = LEVELS.map((level, index) => {
      if (index < top) return `at${index} AS (SELECT 0::bigint AS id WHERE false)`;
      if (index === top) return `at${index} AS (SELECT id FROM ${TABLE[level]} WHERE public_id = decode($1, 'hex'))`;
      return `at${index} AS MATERIALIZED (SELECT id FROM ${TABLE[level]} WHERE parent = ANY (ARRAY(SELECT id FROM at${index - 1})))`;
    });
    const sizes = (dicom: boolean) => `SELECT size, coalesce(compressed_size, size) AS disk, ${dicom} AS dicom`;
    const [row] = await this.query<Statistics & { known: number }>(
      `WITH ${sets.join()}, files AS (
         ${sizes(true)} FROM instances WHERE id = ANY (ARRAY(SELECT id FROM at3))
         ${LEVELS.map(
           (_, index) => `UNION ALL ${sizes(false)} FROM attachments
             WHERE level = ${index} AND resource = ANY (ARRAY(SELECT id FROM at${index}))`,
         ).join(' ')})
       SELECT (SELECT count(*) FROM at${top}) AS known, (SELECT count(*) FROM at0) AS patients,
         (SELECT count(*) FROM at1) AS studies, (SELECT count(*) FROM at2) AS series,
         (SELECT count(*) FROM at3) AS instances,
         coalesce(sum(disk), 0)::bigint AS "diskSize", coalesce(sum(size), 0)::bigint AS "uncompressedSize",
         coalesce(sum(disk) FILTER (WHERE dicom), 0)::bigint AS "dicomDiskSize",
         coalesce(sum(size) FILTER (WHERE dicom), 0)::bigint AS "dicomUncompressedSize"
       FROM files`,
      [hexOf(of.id)],
    );
    if (row === undefined || row.known === 0) return undefined;
    const { known: _, ...statistics } = row;
    return statistics;
  }

  async lastSeq(): Promise<number> {
    return (await this.query<{ seq: number }>('SELECT seq FROM counters', []))[0]?.seq ?? 0;
  }

  async labels(): Promise<string[]> {
    const rows = await this.query<{ label: string }>('SELECT DISTINCT label FROM labels ORDER BY label', []);
    return rows.map(({ label }) => label);
  }

  async property(name: string): Promise<string | undefined> {
    const sql = 'SELECT value FROM properties WHERE name = $1';
    return (await this.query<{ value: string }>(sql, [text(name)]))[0]?.value;
  }

  async removals(limit: number): Promise<readonly string[]> {
    const rows = await this.query<{ uuid: string }>('SELECT uuid FROM removals ORDER BY uuid LIMIT $1', [limit]);
    return rows.map(({ uuid }) => uuid);
  }

  /** Without an index, that every stored instance would pay for: newest rows first, until all are found. */
  async attached(uuids: readonly string[]): Promise<ReadonlySet<string>> {
    const wanted = [...new Set(uuids.map(uuidText))];
    const found = new Set<string>();
    const take = (rows: readonly { uuid: string }[]): void => {
      for (const { uuid } of rows) found.add(uuid);
    };
    take(await this.query('SELECT uuid FROM attachments WHERE uuid = ANY ($1::uuid[])', [wanted]));
    const [newest] = await this.query<{ id: number | null }>('SELECT max(id) AS id FROM instances', []);
    for (let high = newest?.id ?? 0; high > 0 && found.size < wanted.length; high -= IDS) {
      // A set that is hashed once: comparing each row with the array takes ten times as long.
      const sql = `SELECT uuid FROM instances WHERE id <= $1 AND id > $2
        AND CASE WHEN uuid IN (SELECT unnest($3::uuid[])) THEN true END`;
      take(await this.query(sql, [high, high - IDS, wanted]));
    }
    return found;
  }
}
