/**
 * Owns the log: one pino logger for each of Orthanc's categories, with levels that change at run time, written to standard
 * error as lines for people on a terminal and as JSON elsewhere. Patient data belongs to `debug` and below, which only
 * "verbose" shows.
 */

import { type Logger, pino } from 'pino';
import pretty from 'pino-pretty';

/** The categories of Orthanc's log; `lua` and `plugins` have nothing to say here but clients set their levels. */
export const LOG_CATEGORIES = ['generic', 'http', 'dicom', 'sqlite', 'lua', 'jobs', 'plugins'] as const;
export type LogCategory = (typeof LOG_CATEGORIES)[number];

/** Orthanc's levels, and the least severe pino level that each lets through. */
export const LOG_LEVELS = { default: 'info', verbose: 'debug', trace: 'trace' } as const;
export type LogLevel = keyof typeof LOG_LEVELS;

const STDERR = 2;

const root = pino(
  { level: 'trace', base: null },
  process.stderr.isTTY
    ? pretty({ destination: STDERR, sync: true, singleLine: true, translateTime: 'SYS:HH:MM:ss.l' })
    : pino.destination({ fd: STDERR, sync: true }),
);

const child = (category: LogCategory): Logger => root.child({ category }, { level: LOG_LEVELS.default });

/** The logger of each category: `log.http.warn({ err }, 'text')`. */
export const log: Readonly<Record<LogCategory, Logger>> = {
  generic: child('generic'),
  http: child('http'),
  dicom: child('dicom'),
  sqlite: child('sqlite'),
  lua: child('lua'),
  jobs: child('jobs'),
  plugins: child('plugins'),
};

/** The level of one category. */
export function logLevel(category: LogCategory): LogLevel {
  const { level } = log[category];
  if (level === LOG_LEVELS.trace) return 'trace';
  return level === LOG_LEVELS.verbose ? 'verbose' : 'default';
}

/** Sets the level of one category, or of all. */
export function setLogLevel(level: LogLevel, category?: LogCategory): void {
  for (const each of category === undefined ? LOG_CATEGORIES : [category]) log[each].level = LOG_LEVELS[level];
}
