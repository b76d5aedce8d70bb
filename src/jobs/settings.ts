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

/** `shared`: where what is changed is kept for the other nodes, if there may be any. */
export async function openSettings(
  config: Config,
  shared?: { readonly database: Pick<Database, 'property'>; readonly apply: Ingest['apply'] },
): Promise<Settings> {
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
    const current = (await shared?.database.property(PROPERTY)) ?? '';
    if (current === text) return;
    text = current;
    const parsed = ChangedSchema.safeParse(current === '' ? {} : JSON.parse(current));
    // What another version wrote there is not for us.
    if (parsed.success) take(parsed.data);
  };
  await look();
  setMetricsEnabled(changed.MetricsEnabled ?? config.MetricsEnabled);
  let turn: Promise<unknown> = Promise.resolve();
  /** One change at a time, each upon what the last one left. */
  const change = (make: (before: Changed) => Changed): Promise<void> => {
    const done = turn.then(async () => {
      await look();
      const after = make(changed);
      if (shared !== undefined) {
        const value = JSON.stringify(after);
        await shared.apply({ kind: 'property', name: PROPERTY, value });
        text = value;
      }
      take(after);
    });
    turn = done.catch(() => {});
    return done;
  };
  const looking = setInterval(() => {
    look().catch((thrown: unknown) => log.generic.debug({ err: asError(thrown) }, 'settings are looked at later'));
  }, LOOK);
  looking.unref();
  if (shared === undefined) clearInterval(looking);

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
