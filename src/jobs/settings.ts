/**
 * Owns the options that can be changed while the server runs: of one server they are in memory, as the reference has it; where several
 * share an index they are kept there, the same on every node within a second.
 */

import { z } from 'zod';
import type { Config } from '../config.ts';
import type { Database } from '../database/database.ts';
import { asError } from '../errors.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { LOG_CATEGORIES, LOG_LEVELS, type LogCategory, type LogLevel, log, setLogLevel } from '../log.ts';
import { setMetricsEnabled } from '../metrics.ts';
import { OPTIONS } from '../options.ts';
import { alone } from './lease.ts';
import type { Queue } from './queue.ts';

/** The property of the index that holds what was changed. */
const PROPERTY = 'Settings';

/** Milliseconds between two looks at what another node changed. */
const LOOK = 1000;

const LIVE = [
  'AcceptedTransferSyntaxes',
  'AcceptedSopClasses',
  'UnknownSopClassAccepted',
  'DefaultEncoding',
  'MetricsEnabled',
] as const;

/** Options that can be changed. */
export type LiveOption = (typeof LIVE)[number];

const levels = Object.keys(LOG_LEVELS) as [LogLevel, ...LogLevel[]];

const ChangedSchema = z.object({
  AcceptedTransferSyntaxes: OPTIONS.AcceptedTransferSyntaxes.schema.optional(),
  AcceptedSopClasses: OPTIONS.AcceptedSopClasses.schema.optional(),
  UnknownSopClassAccepted: OPTIONS.UnknownSopClassAccepted.schema.optional(),
  DefaultEncoding: OPTIONS.DefaultEncoding.schema.optional(),
  MetricsEnabled: OPTIONS.MetricsEnabled.schema.optional(),
  LogLevels: z.partialRecord(z.enum(LOG_CATEGORIES), z.enum(levels)).optional(),
});

/** What differs from the configuration. */
type Changed = Readonly<z.output<typeof ChangedSchema>>;

export interface Settings {
  /** The configuration, of which what can be changed is as it is at the moment of asking. */
  readonly config: Config;
  /** Changes one option, on every node. */
  set<Name extends LiveOption>(name: Name, value: Config[Name]): Promise<void>;
  /** Changes the level of one category of the log, or of all, on every node. */
  setLogLevel(level: LogLevel, category?: LogCategory): Promise<void>;
  close(): void;
}

export interface SettingsOptions {
  readonly configured: Config;
  readonly database: Pick<Database, 'property' | 'shared'>;
  readonly apply: Ingest['apply'];
  readonly queue: Pick<Queue, 'lease'>;
}

/** Takes what other nodes have changed, and goes on to do so. */
export async function openSettings({ configured: config, database, apply, queue }: SettingsOptions): Promise<Settings> {
  let changed: Changed = {};
  let text = '';
  const take = (next: Changed): void => {
    changed = next;
    setMetricsEnabled(next.MetricsEnabled ?? config.MetricsEnabled);
    for (const category of LOG_CATEGORIES) {
      const level = next.LogLevels?.[category];
      if (level !== undefined) setLogLevel(level, category);
    }
  };
  const look = async (): Promise<void> => {
    const current = (database.shared ? await database.property(PROPERTY) : undefined) ?? '';
    if (current === text) return;
    text = current;
    const parsed = ChangedSchema.safeParse(current === '' ? {} : JSON.parse(current));
    // What another version wrote there is not for us.
    if (parsed.success) take(parsed.data);
  };
  await look();
  setMetricsEnabled(changed.MetricsEnabled ?? config.MetricsEnabled);
  /** One change at a time over all nodes, each upon what the last one left. */
  const change = async (make: (before: Changed) => Changed): Promise<void> => {
    if (!database.shared) {
      take(make(changed));
      return;
    }
    await alone(queue, PROPERTY, async () => {
      await look();
      await apply({ kind: 'property', name: PROPERTY, value: JSON.stringify(make(changed)) });
      await look();
    });
  };
  const looking = setInterval(() => {
    look().catch((thrown: unknown) => log.generic.debug({ err: asError(thrown) }, 'settings are looked at later'));
  }, LOOK);
  looking.unref();
  if (!database.shared) clearInterval(looking);

  const view = { ...config };
  for (const name of LIVE)
    Object.defineProperty(view, name, { enumerable: true, get: () => changed[name] ?? config[name] });
  return {
    config: view,
    set: (name, value) => change((before) => ({ ...before, [name]: value })),
    setLogLevel: (level, category) =>
      change((before) => {
        const all = category === undefined ? LOG_CATEGORIES : [category];
        return {
          ...before,
          LogLevels: { ...before.LogLevels, ...Object.fromEntries(all.map((each) => [each, level])) },
        };
      }),
    close: () => clearInterval(looking),
  };
}
