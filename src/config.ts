/**
 * Owns the reading of the configuration: one JSON file with comments (or a folder of them), then the environment, checked
 * against the table of options.ts.
 */

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { closest, distance } from 'fastest-levenshtein';
import { type ParseError, parse, printParseErrorCode, stripComments, visit } from 'jsonc-parser';
import type { z } from 'zod';
import { asError, IsenError } from './errors.ts';
import { type Option, OPTIONS, type OptionName } from './options.ts';

/** The options that the program reads, under Orthanc's names. Paths are absolute. */
export type Config = {
  readonly [Name in OptionName as (typeof OPTIONS)[Name]['status'] extends 'read'
    ? Name
    : never]: (typeof OPTIONS)[Name]['schema'] extends infer S extends z.ZodType ? z.output<S> : never;
};

/** Where {@link loadConfig} looks. */
export interface ConfigSources {
  /** A JSON file, or a folder of which every `*.json` is read. */
  readonly path?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Makes every warning an error. */
  readonly strict?: boolean;
}

/** A checked configuration, and what the operator should know about it. */
export interface LoadedConfig {
  readonly config: Config;
  readonly warnings: string[];
}

/** A value that was given, and where. */
interface Given {
  readonly value: unknown;
  readonly source: string;
  /** What relative paths start from. */
  readonly folder: string;
}

const PREFIX = 'ISEN__';
const NAMES = Object.keys(OPTIONS) as OptionName[];
const optionOf = (name: OptionName): Option => OPTIONS[name];
/** Options without case and underscores: `STORE_MD5_FOR_ATTACHMENTS` and `StoreMD5ForAttachments` are one. */
const squash = (name: string): string => name.replaceAll('_', '').toLowerCase();
const BY_SQUASHED = new Map(NAMES.map((name) => [squash(name), name]));

/** The environment variable of an option: `HttpPort` → `ISEN__HTTP_PORT`. */
export function environmentName(option: string): string {
  const words = option.replace(/([a-z0-9])([A-Z])/g, '$1_$2').replace(/([A-Z]+)([A-Z][a-z])/g, '$1_$2');
  return PREFIX + words.toUpperCase();
}

function nearest(name: string): string {
  const squashed = squash(name);
  const found = closest(squashed, [...BY_SQUASHED.keys()]);
  const near = distance(squashed, found) <= Math.max(2, squashed.length / 3);
  return near ? `; did you mean ${BY_SQUASHED.get(found)}?` : '';
}

/** Replaces `${NAME}` and `${NAME:-default}` by the environment, as Orthanc does before it parses. */
function substitute(text: string, env: ConfigSources['env'], file: string): string {
  return text.replace(/\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g, (_, name: string, initial?: string) => {
    const value = env[name] ?? initial;
    if (value === undefined) throw new IsenError('ParameterOutOfRange', `${file}: the environment has no ${name}`);
    return value;
  });
}

/** Keys that stand twice in one object, as the path to them: of each the last value counts. */
function doubledKeys(json: string): string[] {
  const doubled: string[] = [];
  const open: Set<string>[] = [];
  visit(json, {
    onObjectBegin: () => void open.push(new Set()),
    onObjectEnd: () => void open.pop(),
    onObjectProperty: (key, _offset, _length, _line, _character, path) => {
      const keys = open.at(-1);
      if (keys?.has(key)) doubled.push([...path(), key].join('.'));
      keys?.add(key);
    },
  });
  return doubled;
}

function parseFile(file: string, env: ConfigSources['env'], warnings: string[]): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new IsenError('InexistentFile', `cannot read ${file}: ${asError(error).message}`, { cause: error });
  }
  // Comments become spaces, so that a ${NAME} inside one asks nothing of the environment and offsets stay true.
  const json = substitute(stripComments(text.replace(/^\uFEFF/, ''), ' '), env, file);
  const errors: ParseError[] = [];
  const value: unknown = parse(json, errors, { allowTrailingComma: true });
  const first = errors[0];
  if (first) {
    const line = json.slice(0, first.offset).split('\n').length;
    throw new IsenError('BadJson', `${file}, line ${line}: ${printParseErrorCode(first.error)}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new IsenError('BadJson', `${file}: a configuration is a JSON object`);
  }
  for (const key of doubledKeys(json)) warnings.push(`${file}: ${key} is given twice; the last one counts`);
  return value as Record<string, unknown>;
}

function filesOf(path: string): string[] {
  let folder: boolean;
  try {
    folder = statSync(path).isDirectory();
  } catch (error) {
    throw new IsenError('InexistentFile', `cannot read ${path}: ${asError(error).message}`, { cause: error });
  }
  if (!folder) return [path];
  return readdirSync(path)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => join(path, name));
}

/** Everything given: files first, the environment over it. Fills `problems` and `warnings`. */
function gather(sources: ConfigSources, problems: string[], warnings: string[]): Map<OptionName, Given> {
  const given = new Map<OptionName, Given>();
  for (const path of sources.path === undefined ? [] : filesOf(resolve(sources.path))) {
    for (const [key, value] of Object.entries(parseFile(path, sources.env, warnings))) {
      if (!Object.hasOwn(OPTIONS, key)) {
        // A key that starts with an underscore is a comment to many JSON tools.
        if (!key.startsWith('_')) warnings.push(`${path}: unknown option ${key}${nearest(key)}`);
        continue;
      }
      const name = key as OptionName;
      const earlier = given.get(name);
      if (earlier) problems.push(`${name} is given twice: in ${earlier.source} and in ${path}`);
      given.set(name, { value, source: path, folder: dirname(path) });
    }
  }
  for (const [key, text] of Object.entries(sources.env)) {
    if (!key.startsWith(PREFIX) || text === undefined) continue;
    const name = BY_SQUASHED.get(squash(key.slice(PREFIX.length)));
    if (!name) {
      const guess = nearest(key.slice(PREFIX.length)).replace(
        /(\w+)\?$/,
        (option) => `${environmentName(option.slice(0, -1))}?`,
      );
      warnings.push(`unknown environment variable ${key}${guess}`);
      continue;
    }
    given.set(name, { value: fromEnvironment(name, text), source: key, folder: process.cwd() });
  }
  return given;
}

/** An option of text takes the variable as it is; any other takes it as JSON. */
function fromEnvironment(name: OptionName, text: string): unknown {
  const option = optionOf(name);
  if (typeof option.default === 'string' && option.schema.safeParse(text).success) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function describe(name: OptionName, given: Given, error: z.ZodError): string {
  const option = optionOf(name);
  const place = error.issues[0]?.path.join('.') ?? '';
  const shown = option.secret
    ? 'a value that is not shown here'
    : (JSON.stringify(given.value) ?? 'nothing').slice(0, 100);
  return `${name}: got ${shown}${place === '' ? '' : ` (at ${place})`}; allowed: ${option.allowed} (from ${given.source})`;
}

/** The value of an option with its files and folders made absolute, relative ones from `folder`. */
function withPaths({ path, paths = [] }: Option, value: unknown, folder: string): unknown {
  const absolute = (each: unknown): unknown => (typeof each === 'string' && each !== '' ? resolve(folder, each) : each);
  if (path) return absolute(value);
  if (typeof value !== 'object' || value === null) return value;
  const found = Object.entries(value).filter(([name]) => paths.includes(name));
  return found.length === 0
    ? value
    : { ...value, ...Object.fromEntries(found.map(([name, each]) => [name, absolute(each)])) };
}

function adviseOnAccess(config: Config, warnings: string[]): void {
  if (!config.HttpServerEnabled) return;
  if (config.RemoteAccessAllowed && !config.AuthenticationEnabled) {
    warnings.push('RemoteAccessAllowed without AuthenticationEnabled: whoever reaches this server may read and delete');
  }
  const strangers = config.ReadOnlyUsers.filter((user) => !Object.hasOwn(config.RegisteredUsers, user));
  if (strangers.length > 0) warnings.push(`ReadOnlyUsers who are no RegisteredUsers: ${strangers.join(', ')}`);
  if (config.AuthenticationEnabled && Object.keys(config.RegisteredUsers).length === 0) {
    warnings.push('AuthenticationEnabled without RegisteredUsers: every request will be refused');
  }
}

/**
 * Reads and checks the configuration. Throws an {@link IsenError} that names every wrong option, what was given and what
 * is allowed: its `details` are one problem a line.
 */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const problems: string[] = [];
  const warnings: string[] = [];
  const given = gather(sources, problems, warnings);
  const values: Partial<Record<OptionName, unknown>> = {};
  const unused: string[] = [];
  for (const name of NAMES) {
    const option = optionOf(name);
    const input = given.get(name);
    let value: unknown = option.default;
    if (input) {
      const parsed = option.schema.safeParse(input.value);
      if (!parsed.success) problems.push(describe(name, input, parsed.error));
      else value = parsed.data;
    }
    if (option.status !== 'read') {
      if (input && JSON.stringify(value) !== JSON.stringify(option.default)) unused.push(name);
      continue;
    }
    values[name] = withPaths(option, value, input?.folder ?? '');
  }
  if (problems.length > 0) throw new IsenError('ParameterOutOfRange', problems.join('\n'));
  if (unused.length > 0) warnings.push(`accepted, but nothing here corresponds: ${unused.join(', ')}`);

  if (!given.has('AuthenticationEnabled')) values.AuthenticationEnabled = values.RemoteAccessAllowed;
  if (values.IndexDirectory === '') values.IndexDirectory = values.StorageDirectory;
  const config = values as Config;
  adviseOnAccess(config, warnings);
  if (sources.strict && warnings.length > 0) throw new IsenError('ParameterOutOfRange', warnings.join('\n'));
  return { config, warnings };
}
