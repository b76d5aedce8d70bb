/**
 * Owns the `changes` port over a Redis stream that all nodes share: entry `<Seq>-0` is the change of that number. The index
 * numbers its changes as it commits them, without gaps and in the order in which they can be seen; it is the outbox from
 * which the stream is filled, in that order only, and filled again when Redis lost its last second or everything. So a number
 * is never given twice, whatever Redis forgets: the stream is where the log is read and waited for, not where it is kept.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { CHANGE_TYPES, type Change, type ChangesRequest, type Database } from '../database/database.ts';
import { LEVELS } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { asked, type RedisConnection, RedisScript } from '../redis.ts';
import type { Changes, ChangesPage } from './changes.ts';

/** Entries that the stream keeps, about (some 15 MB); what is older is read from the index. */
const KEPT = 100_000;

/** Entries that a stream which was lost begins anew with, at most. */
const REFILLED = 10_000;

/** Entries appended in one step. */
const STRETCH = 1000;

/** Changes that a follower holds at a time. */
const PAGE = 256;

/** Milliseconds between two looks for changes that nobody announced: their node died, or Redis was away. */
const SWEEP = 1000;

/** Milliseconds that one XREAD blocks; shorter than any command may take. */
const BLOCK = 1000;

/** Milliseconds until a follower that met an error, or heard nothing, looks again. */
const RETRY = 500;
const QUIET = 5000;

const APPEND = new RedisScript('changes/append.lua');

/** The log on Redis. Closing leaves the connection it was given open. */
export interface RedisChanges extends Changes {
  close(): Promise<void>;
}

type StreamEntry = readonly [id: string, fields: readonly string[]];

const valueOf = ({ type, level, id, date }: Change): string => `${type},${level},${id},${date}`;

function changeOf([entry, fields]: StreamEntry): Change {
  const [typeName, levelName, id, date] = (fields[1] ?? '').split(',');
  const type = CHANGE_TYPES.find((each) => each === typeName);
  const level = LEVELS.find((each) => each === levelName);
  if (type === undefined || level === undefined || id === undefined || date === undefined)
    throw new IsenError('Database', 'An entry of the stream of changes cannot be read');
  return { seq: seqOf(entry), type, level, id, date };
}

const seqOf = (id: string): number => Number(id.slice(0, id.indexOf('-')));

class Stream implements RedisChanges {
  readonly #redis: RedisConnection;
  readonly #listening: RedisConnection;
  readonly #database: Database;
  readonly #key: string;
  readonly #closing = new AbortController();
  readonly #loops: Promise<void>[];
  /** The highest number that this node ever saw in the stream: one that ends before it has lost something. */
  #seen = 0;
  /** Redis failed: the sweeper announces, and nobody waits for it. */
  #behind = false;
  #catching: Promise<void> | undefined;
  readonly #waiting = new Set<() => void>();
  #wakes = 0;

  constructor(redis: RedisConnection, listening: RedisConnection, database: Database) {
    this.#redis = redis;
    this.#listening = listening;
    this.#database = database;
    this.#key = `${redis.prefix}:changes`;
    this.#loops = [this.#sweep(), this.#listen()];
  }

  async announce(changes: readonly Change[]): Promise<void> {
    const [first] = changes;
    const last = changes.at(-1)?.seq ?? 0;
    if (first === undefined || this.#behind) return;
    try {
      // Those of other nodes that come before them may not be announced yet.
      if ((await this.#append(first.seq - 1, last, false, changes)) < last) await this.#catchUp();
    } catch (thrown) {
      this.#behind = true;
      throw thrown;
    }
  }

  async since(request: ChangesRequest): Promise<ChangesPage> {
    const { since, to, limit, types } = request;
    if (limit <= 0) return { changes: [], done: true };
    const backwards = since === undefined && to !== undefined;
    if (types === undefined) {
      const page = backwards ? await this.#before(to, limit) : await this.#after(since ?? 0, to, limit);
      if (page !== undefined) return page;
    }
    // Never more than the stream has shown: what is read next may be read from it.
    const last = await this.last();
    const { changes, more } = await this.#database.changes({
      ...request,
      ...(!backwards && { since: since ?? 0 }),
      to: Math.min(to ?? last, last),
    });
    return { changes, done: !more };
  }

  async last(): Promise<number> {
    const [entry] = await this.#reversed('+', 1);
    const last = entry === undefined ? 0 : seqOf(entry[0]);
    if (last > 0 && last >= this.#seen) this.#seen = last;
    else await this.#catchUp();
    return this.#seen;
  }

  async *follow(since: number, signal: AbortSignal): AsyncGenerator<Change, void> {
    let at = since;
    while (!signal.aborted && !this.#closing.signal.aborted) {
      const wakes = this.#wakes;
      let changes: readonly Change[];
      try {
        ({ changes } = await this.since({ since: at, limit: PAGE }));
      } catch {
        // Whoever follows waits until Redis is there again; what happens meanwhile is in the index.
        await this.#pause(RETRY, signal);
        continue;
      }
      for (const change of changes) {
        if (signal.aborted) return;
        at = change.seq;
        yield change;
      }
      if (changes.length === 0) await this.#news(wakes, signal);
    }
  }

  async cleared(): Promise<void> {
    await asked(this.#redis.client.xtrim(this.#key, 'MAXLEN', 0));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#listening.close();
    this.#wake();
    await Promise.all(this.#loops);
    await this.#catching?.catch(() => {});
  }

  /** Drops a stream that another index filled. */
  async verify(): Promise<void> {
    const last = await this.#append(0, 0, false, []);
    const [entry] = await this.#reversed('+', 1);
    const seq = entry === undefined ? last : seqOf(entry[0]);
    const { changes } = await this.#database.changes({ since: seq - 1, to: seq, limit: 1 });
    const [change] = changes;
    // One that is in neither was cleared.
    const same = entry === undefined || change === undefined || valueOf(change) === entry[1][1];
    if (same && last <= (await this.#database.lastSeq())) return;
    log.generic.warn('Redis holds the changes of another index; they are forgotten');
    await asked(this.#redis.client.del(this.#key));
    this.#seen = 0;
  }

  /** Brings the stream to where the index is. */
  async catchUp(): Promise<void> {
    await this.#catchUp();
  }

  async #append(after: number, upto: number, anew: boolean, changes: readonly Change[]): Promise<number> {
    const args: (string | number)[] = [after, upto, anew ? 1 : 0, KEPT];
    for (const change of changes) args.push(change.seq, valueOf(change));
    const last = Number(await APPEND.run(this.#redis.client, [this.#key], args));
    this.#seen = Math.max(this.#seen, last);
    return last;
  }

  #catchUp(): Promise<void> {
    this.#catching ??= this.#fill().finally(() => {
      this.#catching = undefined;
    });
    return this.#catching;
  }

  async #fill(): Promise<void> {
    for (;;) {
      const last = await this.#append(0, 0, false, []);
      const end = await this.#database.lastSeq();
      if (last >= end) {
        this.#behind = false;
        return;
      }
      const after = Math.max(last, end - REFILLED);
      const { changes, more } = await this.#database.changes({ since: after, to: end, limit: STRETCH });
      const upto = more ? (changes.at(-1)?.seq ?? end) : end;
      await this.#append(after, upto, after > last, changes);
    }
  }

  /** The page after `since`, or undefined where the stream does not hold all of it. */
  async #after(since: number, to: number | undefined, limit: number): Promise<ChangesPage | undefined> {
    const entries: StreamEntry[] = await asked(
      this.#redis.client.xrange(this.#key, `(${since}-0`, to === undefined ? '+' : `${to}-0`, 'COUNT', limit + 1),
    );
    const [first] = entries;
    if (first === undefined) return since >= this.#seen ? { changes: [], done: true } : undefined;
    // It was trimmed, or cleared.
    if (seqOf(first[0]) !== since + 1) return undefined;
    return { changes: entries.slice(0, limit).map(changeOf), done: entries.length <= limit };
  }

  /** The last ones up to `to`, or undefined where the stream may not hold all of them. */
  async #before(to: number, limit: number): Promise<ChangesPage | undefined> {
    const entries = await this.#reversed(`${to}-0`, limit + 1);
    const highest = entries[0] === undefined ? 0 : seqOf(entries[0][0]);
    if (entries.length <= limit || highest < Math.min(to, this.#seen)) return undefined;
    return { changes: entries.slice(0, limit).reverse().map(changeOf), done: false };
  }

  async #reversed(from: string, count: number): Promise<StreamEntry[]> {
    return asked(this.#redis.client.xrevrange(this.#key, from, '-', 'COUNT', count));
  }

  /** Announces what nobody did. */
  async #sweep(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#pause(SWEEP, signal);
      if (signal.aborted) return;
      try {
        await this.#catchUp();
      } catch {
        // Said by the connection; tried again.
        this.#behind = true;
      }
    }
  }

  /** Wakes the followers of this node when anything is appended anywhere. */
  async #listen(): Promise<void> {
    const { signal } = this.#closing;
    let at = -1;
    while (!signal.aborted) {
      if (at < 0) at = this.#seen;
      try {
        const read = await this.#listening.client.xread(
          'COUNT',
          STRETCH,
          'BLOCK',
          BLOCK,
          'STREAMS',
          this.#key,
          `${at}-0`,
        );
        const last = read?.[0]?.[1].at(-1);
        if (last === undefined) continue;
        at = seqOf(last[0]);
        this.#seen = Math.max(this.#seen, at);
        this.#wake();
      } catch {
        if (!signal.aborted) await this.#pause(RETRY, signal);
      }
    }
  }

  #wake(): void {
    this.#wakes += 1;
    for (const wake of this.#waiting) wake();
  }

  /** Resolves when anything is appended after the `seen`-th wake, after a while, or when `signal` aborts. */
  async #news(seen: number, signal: AbortSignal): Promise<void> {
    if (this.#wakes !== seen || signal.aborted || this.#closing.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(late);
        this.#waiting.delete(end);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const late = setTimeout(end, QUIET);
      this.#waiting.add(end);
      signal.addEventListener('abort', end);
    });
  }

  async #pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    await sleep(milliseconds, undefined, { signal }).catch(() => {});
  }
}

/** Opens the log: the stream is brought to where the index is. Throws DatabaseUnavailable. */
export async function openRedisChanges(redis: RedisConnection, database: Database): Promise<RedisChanges> {
  const stream = new Stream(redis, await redis.another(), database);
  try {
    await stream.verify();
    await stream.catchUp();
    return stream;
  } catch (thrown) {
    await stream.close();
    throw thrown;
  }
}
