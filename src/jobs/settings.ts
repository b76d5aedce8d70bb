/**
 * Owns what people set while servers run and what is no option: log levels, and whether metrics are collected. Servers that share
 * an index share these as well: each looks at the index every few seconds.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database/database.ts';
import { asIsenError } from '../errors.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { LOG_LEVELS, type LogCategory, type LogLevel, log, setLogLevel } from '../log.ts';
import { setMetricsEnabled } from '../metrics.ts';
import { alone } from './lease.ts';
import type { Queue } from './queue.ts';

/** The property of the index that holds them. */
const PROPERTY = 'Settings';

/** Milliseconds between two looks at what other nodes set. */
const LOOK = 2000;

/** As they are stored; what was never set is not there. */
interface Stored {
  readonly levels: Readonly<Partial<Record<LogCategory, LogLevel>>>;
  readonly metrics?: boolean;
}

export interface Settings {
  /** Sets the level of some logs, on every node. Throws DatabaseUnavailable where servers share an index that is away. */
  setLogLevel(level: LogLevel, categories: readonly LogCategory[]): Promise<void>;
  /** Whether metrics are collected, on every node. Throws as {@link Settings.setLogLevel} does. */
  setMetrics(enabled: boolean): Promise<void>;
  close(): Promise<void>;
}

export interface SettingsOptions {
  readonly database: Pick<Database, 'property' | 'shared'>;
  readonly apply: Ingest['apply'];
  readonly queue: Pick<Queue, 'lease'>;
}

/** Takes what other nodes have set, and goes on to do so. */
export async function openSettings({ database, apply, queue }: SettingsOptions): Promise<Settings> {
  const closing = new AbortController();
  let text = '';
  const use = ({ levels, metrics }: Stored): void => {
    for (const [category, level] of Object.entries(levels)) {
      if (Object.hasOwn(LOG_LEVELS, level)) setLogLevel(level, category as LogCategory);
    }
    if (metrics !== undefined) setMetricsEnabled(metrics);
  };
  const read = async (): Promise<Stored> => {
    const current = (await database.property(PROPERTY)) ?? '{"levels":{}}';
    const stored = JSON.parse(current) as Stored;
    if (current !== text) use(stored);
    text = current;
    return stored;
  };
  const change = async (changed: (stored: Stored) => Stored): Promise<void> => {
    if (!database.shared) {
      use(changed({ levels: {} }));
      return;
    }
    await alone(queue, 'settings', async () => {
      const value = JSON.stringify(changed(await read()));
      await apply({ kind: 'property', name: PROPERTY, value });
      await read();
    });
  };
  const look = async (): Promise<void> => {
    for (;;) {
      await sleep(LOOK, undefined, { signal: closing.signal, ref: false });
      await read().catch((thrown: unknown) =>
        log.generic.debug({ err: asIsenError(thrown) }, 'what other servers set is looked at later'),
      );
    }
  };
  if (database.shared) await read();
  const looking = database.shared ? look().catch(() => {}) : Promise.resolve();
  return {
    setLogLevel: (level, categories) =>
      change((stored) => ({
        ...stored,
        levels: { ...stored.levels, ...Object.fromEntries(categories.map((category) => [category, level])) },
      })),
    setMetrics: (enabled) => change((stored) => ({ ...stored, metrics: enabled })),
    async close() {
      closing.abort();
      await looking;
    },
  };
}
