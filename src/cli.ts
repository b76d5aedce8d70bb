/**
 * Owns the command line: reads the arguments, calls the room that does the work, and turns what happened into text and an
 * exit code. The server itself is only loaded by `serve`.
 */

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import progress from 'cli-progress';
import { Command, InvalidArgumentError } from 'commander';
import { type LoadedConfig, loadConfig } from './config.ts';
import { IsenError } from './errors.ts';
import { type ImportReport, importFiles, survey } from './import.ts';
import { log, setLogLevel } from './log.ts';
import { hashPassword } from './password.ts';

const EXIT_CODES = `
Exit codes:
  0    done
  1    something failed
  2    the command line or the configuration is wrong
  130  interrupted`;
const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;
const MB = 2 ** 20;

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const complain = (text: string): void => void process.stderr.write(`${text}\n`);

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

interface ServeFlags {
  readonly strict?: true;
  readonly check?: true;
  readonly verbose?: true;
  readonly trace?: true;
}

/**
 * Resolves with what ends the server that is running: a signal, or a client (`/tools/shutdown`, `/tools/reset`). A further signal ends the
 * process at once.
 */
function listenForEnd(): {
  readonly ended: () => Promise<'shutdown' | 'reset'>;
  readonly end: (how: 'shutdown' | 'reset') => void;
} {
  let signalled = false;
  let resolve: (how: 'shutdown' | 'reset') => void = () => {};
  const stop = (signal: NodeJS.Signals) => {
    if (signalled) process.exit(EXIT.failed);
    signalled = true;
    log.generic.info(`${signal}: finishing what was accepted; a second signal ends at once`);
    resolve('shutdown');
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  return {
    ended: () =>
      new Promise((ends) => {
        if (signalled) ends('shutdown');
        else resolve = ends;
      }),
    end: (how) => resolve(how),
  };
}

/** The configuration, or undefined for one that is wrong, which was said then. */
function load(path: string | undefined, flags: ServeFlags): LoadedConfig | undefined {
  try {
    return loadConfig({
      env: process.env,
      ...(path === undefined ? {} : { path }),
      ...(flags.strict === undefined ? {} : { strict: flags.strict }),
    });
  } catch (error) {
    if (!(error instanceof IsenError)) throw error;
    complain(error.details ?? error.message);
    return undefined;
  }
}

async function serve(path: string | undefined, flags: ServeFlags): Promise<void> {
  let loaded = load(path, flags);
  if (loaded === undefined) {
    process.exitCode = EXIT.usage;
    return;
  }
  if (flags.check) {
    for (const warning of loaded.warnings) complain(`warning: ${warning}`);
    say('the configuration is right');
    return;
  }
  if (flags.trace) setLogLevel('trace');
  else if (flags.verbose) setLogLevel('verbose');
  const { start } = await import('./main.ts');
  const { ended, end } = listenForEnd();
  for (;;) {
    for (const warning of loaded.warnings) log.generic.warn(warning);
    const ending = ended();
    const server = await start({ config: loaded.config, onEnding: end });
    const { url = 'off', dicomPort } = server;
    const dicom = dicomPort === undefined ? 'off' : `port ${dicomPort} (AE title ${loaded.config.DicomAet})`;
    log.generic.info(`Isen ${version()} is ready: REST API ${url}, DICOM ${dicom}`);
    const how = await ending;
    try {
      await server.close();
    } catch (error) {
      log.generic.error({ err: error }, 'closing failed');
      process.exit(EXIT.failed);
    }
    if (how === 'shutdown') process.exit(EXIT.done);
    log.generic.info('starting again, as a client asked');
    // One that became wrong meanwhile must not end the server.
    loaded = load(path, flags) ?? loaded;
  }
}

interface ImportFlags {
  readonly url: URL;
  readonly user?: string;
  readonly concurrency: number;
  readonly dryRun?: true;
  readonly quiet?: true;
  readonly insecure?: true;
}

const count = (value: number): string => value.toLocaleString('en');
const megabytes = (bytes: number): string => (bytes / MB).toFixed(1);
/** File names come from anywhere, and a terminal obeys control characters. */
const printable = (text: string): string => text.replace(/[\x00-\x1f\x7f-\x9f]/g, '?');

/** Shows the bar while `work` runs; totals grow while files are still being counted. */
async function withProgress(
  paths: readonly string[],
  signal: AbortSignal,
  work: (show: (report: ImportReport) => void) => Promise<ImportReport>,
) {
  const began = performance.now();
  const bar = new progress.SingleBar(
    {
      format: '{bar} {percentage} % | {value}/{total}{counting} files | {rate}/s, {speed} MB/s | {eta_formatted} left',
      stream: process.stderr,
      hideCursor: true,
      etaBuffer: 200,
    },
    progress.Presets.shades_classic,
  );
  bar.start(0, 0, { rate: '0', speed: '0', counting: '+' });
  const enough = new AbortController();
  const counted = survey(paths, {
    signal: AbortSignal.any([signal, enough.signal]),
    onFound: ({ files }) => bar.setTotal(files),
  });
  const all = counted.then(({ files }) => bar.update({ counting: '', total: files }));
  try {
    return await work((report) => {
      const seconds = (performance.now() - began) / 1000;
      bar.update(report.files, { rate: (report.files / seconds).toFixed(0), speed: megabytes(report.bytes / seconds) });
    });
  } finally {
    enough.abort();
    await all;
    bar.stop();
  }
}

function summarize(report: ImportReport, seconds: number): void {
  const rates = `${(report.files / seconds).toFixed(1)} files/s, ${megabytes(report.bytes / seconds)} MB/s`;
  say(`${count(report.files)} files, ${megabytes(report.bytes)} MB sent in ${seconds.toFixed(1)} s (${rates})`);
  const rows: [string, number][] = [
    ['stored', report.stored],
    ['already there', report.alreadyStored],
    ['filtered out', report.filteredOut],
    ['not DICOM', report.notDicom],
    ['failed', report.failed],
  ];
  for (const [name, value] of rows) say(`  ${name.padEnd(14)}${count(value).padStart(10)}`);
  for (const { name, reason } of report.failures) complain(printable(`failed: ${name}: ${reason}`));
  if (report.failed > report.failures.length) complain(`… and ${count(report.failed - report.failures.length)} more`);
  if (report.stopped !== undefined) complain(printable(`stopped: ${report.stopped}`));
}

async function dryRun(paths: readonly string[], signal: AbortSignal): Promise<void> {
  const found = await survey(paths, { signal });
  say(`${count(found.files)} files, ${megabytes(found.bytes)} MB would be sent`);
  for (const { name, reason } of found.unreadable) complain(printable(`cannot be read: ${name}: ${reason}`));
  if (found.unreadable.length > 0) process.exitCode = EXIT.failed;
}

async function importCommand(paths: string[], flags: ImportFlags): Promise<void> {
  const interrupt = new AbortController();
  process.on('SIGINT', () => {
    if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
    interrupt.abort();
  });
  const { signal } = interrupt;
  if (flags.dryRun) {
    await dryRun(paths, signal);
    return;
  }
  const url = new URL(flags.url);
  const user =
    flags.user ??
    (url.username === '' ? undefined : `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`);
  url.username = '';
  url.password = '';
  const password = process.env['ISEN_PASSWORD'];
  const began = performance.now();
  const work = (onProgress: (report: ImportReport) => void) =>
    importFiles({
      paths,
      url,
      concurrency: flags.concurrency,
      insecure: flags.insecure === true,
      signal,
      onProgress,
      ...(user === undefined ? {} : { credentials: user.includes(':') ? user : `${user}:${password ?? ''}` }),
    });
  const silent = flags.quiet === true || !process.stderr.isTTY;
  const report = silent ? await work(() => undefined) : await withProgress(paths, signal, work);
  summarize(report, (performance.now() - began) / 1000);
  if (signal.aborted) process.exitCode = EXIT.interrupted;
  else if (report.failed > 0 || report.stopped !== undefined) process.exitCode = EXIT.failed;
}

interface MigrateFlags {
  readonly from: string;
  readonly to: string;
  readonly quiet?: true;
}

/** Of a configuration file alone: variables that override options would be meant for one of two. */
function loadAlone(path: string): LoadedConfig {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ISEN__')));
  return loadConfig({ env, path });
}

async function migrateCommand(flags: MigrateFlags): Promise<void> {
  let from: LoadedConfig;
  let to: LoadedConfig;
  try {
    [from, to] = [loadAlone(flags.from), loadAlone(flags.to)];
  } catch (error) {
    if (!(error instanceof IsenError)) throw error;
    complain(error.details ?? error.message);
    process.exitCode = EXIT.usage;
    return;
  }
  const interrupt = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
      interrupt.abort();
    });
  }
  const { migrate } = await import('./migrate.ts');
  const began = performance.now();
  const silent = flags.quiet === true || !process.stderr.isTTY;
  const bar = new progress.SingleBar(
    {
      format: '{phase} {bar} {percentage} % | {value}/{total} rows | {megabytes} MB of files | {eta_formatted} left',
      stream: process.stderr,
      hideCursor: true,
      etaBuffer: 200,
    },
    progress.Presets.shades_classic,
  );
  let phase = '';
  const report = await migrate({
    from: from.config,
    to: to.config,
    signal: interrupt.signal,
    ...(!silent && {
      onProgress: (now) => {
        const shown = { phase: now.phase.padEnd(9), megabytes: megabytes(now.bytes) };
        if (phase !== now.phase) bar.start(now.total, now.rows, shown);
        else bar.update(now.rows, shown);
        phase = now.phase;
      },
    }),
  }).finally(() => bar.stop());
  const seconds = (performance.now() - began) / 1000;
  const rows: [string, number][] = [
    ['rows written', report.written],
    ['files copied', report.files],
    ['queue entries', report.entries],
    ['files missing', report.missing.length],
    ['files altered', report.altered.length],
  ];
  for (const [name, value] of rows) say(`  ${name.padEnd(14)}${count(value).padStart(12)}`);
  for (const uuid of report.missing) complain(`missing in the source: ${uuid}`);
  for (const uuid of report.altered) complain(`not as the index of the source says, copied as it is: ${uuid}`);
  if (report.stopped) {
    say('stopped; the same command goes on from here');
    process.exit(EXIT.interrupted);
  }
  say(
    `${count(report.rows)} rows are the same in both, ${megabytes(report.bytes)} MB were read back right; ${seconds.toFixed(1)} s`,
  );
  process.exit(report.missing.length + report.altered.length > 0 ? EXIT.failed : EXIT.done);
}

/** The first line of standard input; a terminal shows nothing of what is typed. */
async function readPassword(): Promise<string> {
  const hidden = new Writable({ write: (_chunk, _encoding, done) => done() });
  if (process.stdin.isTTY) process.stderr.write('Password: ');
  const lines = createInterface({ input: process.stdin, output: hidden, terminal: process.stdin.isTTY });
  try {
    for await (const line of lines) return line;
    return '';
  } finally {
    lines.close();
    if (process.stdin.isTTY) complain('');
  }
}

async function hashPasswordCommand(): Promise<void> {
  const password = await readPassword();
  if (password === '') {
    complain('an empty password is no password');
    process.exitCode = EXIT.usage;
    return;
  }
  say(await hashPassword(password));
}

function concurrencyOf(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 64)
    throw new InvalidArgumentError('It is a whole number from 1 to 64.');
  return value;
}

function urlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) throw new InvalidArgumentError('It is an http:// or https:// URL.');
  return url;
}

const program = new Command('isen')
  .description("DICOM server and router that speaks Orthanc's REST API")
  .version(version())
  .showHelpAfterError('(--help says more)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.done : EXIT.usage));

program
  .command('serve')
  .summary('run the server')
  .description(
    "Runs the server until SIGTERM or SIGINT, and then finishes what it has accepted. The configuration is JSON with comments, with Orthanc's option names; each option can also be set in the environment: HttpPort by ISEN__HTTP_PORT. docs/options.md lists them.",
  )
  .argument('[config]', 'a JSON file, or a folder of which every *.json is read (default: all defaults)')
  .option('--check', 'check the configuration, say what is wrong, and end')
  .option('--strict', 'take every warning about the configuration as an error')
  .option('--verbose', 'log every request')
  .option('--trace', 'log everything')
  .addHelpText(
    'after',
    `
Examples:
  isen serve                              REST on 127.0.0.1:8042, data in ./IsenStorage
  isen serve config.json --strict
  ISEN__HTTP_PORT=8043 ISEN__REGISTERED_USERS='{"alice":"secret"}' isen serve
${EXIT_CODES}`,
  )
  .action(serve);

program
  .command('import')
  .summary('upload folders, files and ZIP archives')
  .description(
    "Uploads everything under the given paths to a server that speaks Orthanc's REST API. Folders are read recursively and ZIP archives entry by entry. A busy server (503) and a lost connection are tried again; what is not DICOM is counted and left alone.",
  )
  .argument('<path...>', 'folders, DICOM files (also .dcm.gz) and ZIP archives')
  .option('--url <url>', 'root of the REST API', urlOf, new URL('http://127.0.0.1:8042'))
  .option(
    '--user <name[:password]>',
    'HTTP Basic credentials; without a password, ISEN_PASSWORD of the environment is it',
  )
  .option('--concurrency <n>', 'uploads at a time, 1 to 64', concurrencyOf, 4)
  .option('--dry-run', 'only count what would be sent')
  .option('--quiet', 'no progress bar')
  .option('--insecure', 'accept any HTTPS certificate: whoever is in between reads images and password')
  .addHelpText(
    'after',
    `
Examples:
  isen import /media/cdrom
  isen import --url https://pacs.example.org/orthanc --user alice study.zip more/
  isen import --dry-run archive/
  NODE_EXTRA_CA_CERTS=certificate.pem isen import --url https://pacs.example.org study.zip

The certificate of an HTTPS server is checked. For one that is self-signed, or of
an authority of your own, name its PEM file in NODE_EXTRA_CA_CERTS.
${EXIT_CODES}`,
  )
  .action(importCommand);

program
  .command('migrate')
  .summary('move a server to another index, storage or queue')
  .description(
    'Copies everything that the server of one configuration holds to the engines of another one: SQLite or PostgreSQL, files or S3, queues in the index or in Redis. Ids, changes and their numbers, labels, metadata with their revisions, settings and queues stay as they are. Both servers must be stopped; the target must be empty. Every file is read back and compared by its MD5, and in the end every row. What is interrupted goes on with the same command; the source is left as it was.',
  )
  .requiredOption('--from <config>', 'configuration of the server as it is')
  .requiredOption('--to <config>', 'configuration of the server as it is to be')
  .option('--quiet', 'no progress bar')
  .addHelpText(
    'after',
    `
Example:
  isen migrate --from sqlite.json --to cluster.json && isen serve cluster.json

Only the two files count: options in the environment (ISEN__…) do not.
${EXIT_CODES}`,
  )
  .action(migrateCommand);

program
  .command('hash-password')
  .summary('hash a password for RegisteredUsers')
  .description('Reads a password from standard input and prints the hash that RegisteredUsers takes in its place.')
  .addHelpText('after', `\nExample:\n  printf %s "$PASSWORD" | isen hash-password\n${EXIT_CODES}`)
  .action(hashPasswordCommand);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof IsenError) complain(error.message);
  else complain(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exit(EXIT.failed);
}
