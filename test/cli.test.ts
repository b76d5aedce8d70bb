/** The command line, run as users run it. */

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { verifyPassword } from '../src/password.ts';
import { make } from './dicom/made.ts';
import { serve } from './http/served.ts';
import { freePort, ROOT, temporaryFolder, without } from './peer.ts';

/** The compiled program: the launcher would only build it again. */
const program = join(ROOT, 'dist/src/cli.js');

function isen(args: string[], { input = '', env = {} }: { input?: string; env?: Record<string, string> } = {}) {
  return spawnSync(process.execPath, [program, ...args], { input, encoding: 'utf8', env: { ...process.env, ...env } });
}

test('help and version', () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  assert.equal(isen(['--version']).stdout.trim(), version);
  for (const args of [['--help'], ['serve', '--help'], ['import', '--help'], ['hash-password', '--help']]) {
    const { status, stdout } = isen(args);
    assert.equal(status, 0);
    assert.match(stdout, /^Usage: isen/);
  }
  assert.match(isen(['import', '--help']).stdout, /Examples:[^]*Exit codes:/);
});

test('a wrong command line exits 2 and says why', () => {
  for (const [args, reason] of [
    [['serve', '--nope'], /unknown option '--nope'/],
    [['import'], /missing required argument 'path'/],
    [['import', '--concurrency', '0', '.'], /whole number from 1 to 64/],
    [['import', '--url', 'ftp://host', '.'], /http:\/\/ or https:\/\//],
    [['frobnicate'], /unknown command/],
  ] as [string[], RegExp][]) {
    const { status, stderr } = isen(args);
    assert.equal(status, 2, args.join(' '));
    assert.match(stderr, reason);
  }
});

test('serve --check judges the configuration and ends', () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'good.json'), '{ "HtpPort": 1 } // one typing error');
  writeFileSync(join(folder, 'bad.json'), '{ "HttpPort": "x" }');
  const good = isen(['serve', '--check', join(folder, 'good.json')]);
  assert.equal(good.status, 0);
  assert.match(good.stderr, /did you mean HttpPort/);
  const strict = isen(['serve', '--check', '--strict', join(folder, 'good.json')]);
  assert.equal(strict.status, 2);
  const bad = isen(['serve', '--check', join(folder, 'bad.json')]);
  assert.equal(bad.status, 2);
  assert.match(bad.stderr, /^HttpPort: got "x"; allowed: a port/);
  assert.equal(isen(['serve', '--check'], { env: { ISEN__STABLE_AGE: 'soon' } }).status, 2);
});

test('serve ends at once where its folders cannot be made, and says which', () => {
  for (const [env, folder] of [
    [{ ISEN__STORAGE_DIRECTORY: '/proc/x/y' }, '/proc/x/y'],
    [{ ISEN__STORAGE_DIRECTORY: '/proc/x', ISEN__INDEX_DIRECTORY: temporaryFolder() }, '/proc/x'],
  ] as const) {
    const { status, stderr } = spawnSync(process.execPath, [program, 'serve'], {
      encoding: 'utf8',
      timeout: 10_000,
      env: { ...process.env, ISEN__HTTP_PORT: '0', ISEN__DICOM_PORT: '0', ...env },
    });
    assert.equal(status, 1, stderr);
    assert.ok(stderr.includes(folder), stderr);
  }
});

test('hash-password prints what RegisteredUsers takes', async () => {
  const { status, stdout } = isen(['hash-password'], { input: 'secret\n' });
  assert.equal(status, 0);
  assert.equal(await verifyPassword({ alice: stdout.trim() }, 'alice', 'secret'), true);
  assert.equal(isen(['hash-password'], { input: '\n' }).status, 2);
});

test('import says what became of the files, without control characters, and its exit code tells', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'a\u001b[2J.txt'), 'text');
  const dry = isen(['import', '--dry-run', folder]);
  assert.equal(dry.status, 0);
  assert.equal(dry.stdout, '1 files, 0.0 MB would be sent\n');
  const absent = isen(['import', '--dry-run', join(folder, 'b\u001b[2J')]);
  assert.equal(absent.status, 1);
  assert.match(absent.stderr, /b\?\[2J: ENOENT/);
  assert.ok(!absent.stderr.includes('\u001b'));
  const nobody = isen(['import', '--url', `http://127.0.0.1:${await freePort()}`, folder]);
  assert.equal(nobody.status, 1);
  assert.match(nobody.stderr, /stopped: the server cannot be reached/);
});

const running: ReturnType<typeof spawn>[] = [];
after(() => {
  for (const child of running) child.kill('SIGKILL');
});

test('serve answers until SIGTERM, takes an import, and exits 0', async () => {
  const folder = temporaryFolder();
  const port = await freePort();
  const name = randomUUID();
  const configuration = {
    Name: name,
    HttpPort: port,
    StorageDirectory: 'storage',
    StableAge: 1,
    DicomPort: await freePort(),
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(configuration));
  const child = spawn(process.execPath, [program, 'serve', join(folder, 'config.json')], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  running.push(child);
  const said = text(child.stderr);
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const url = `http://127.0.0.1:${port}`;
  let system: unknown;
  for (let waited = 0; waited < 15_000 && system === undefined && child.exitCode === null; waited += 100) {
    await sleep(100);
    system = await fetch(`${url}/system`)
      .then((response) => response.json())
      .catch(() => undefined);
  }
  assert.equal((system as { Name: string } | undefined)?.Name, name);
  writeFileSync(join(folder, 'readme.txt'), 'not DICOM');
  const sent = isen(['import', '--url', url, join(folder, 'readme.txt')]);
  assert.match(sent.stdout, /not DICOM +1\n/);
  assert.equal(sent.status, 0);
  child.kill('SIGTERM');
  assert.equal(await ended, 0);
  assert.match(await said, new RegExp(`REST API ${url}, DICOM port ${configuration.DicomPort} \\(AE title ISEN\\)`));
});

test('import over HTTPS trusts a self-signed certificate only when told to', { skip: without('openssl') }, async () => {
  const folder = temporaryFolder();
  const [key, certificate, both] = ['key.pem', 'certificate.pem', 'both.pem'].map((name) => join(folder, name));
  const made = spawnSync('openssl', [
    ...'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost'.split(' '),
    ...`-addext subjectAltName=IP:127.0.0.1 -keyout ${key} -out ${certificate}`.split(' '),
  ]);
  assert.equal(made.status, 0, made.stderr.toString());
  writeFileSync(both ?? '', readFileSync(certificate ?? '', 'utf8') + readFileSync(key ?? '', 'utf8'));
  const server = await serve({ SslEnabled: true, SslCertificate: both });
  const files = join(folder, 'files');
  mkdirSync(files);
  writeFileSync(join(files, 'a.dcm'), make());
  /** Not synchronously: the server is of this process. */
  const run = async (args: string[], env: Record<string, string> = {}) => {
    const child = spawn(process.execPath, [program, 'import', '--url', server.url, ...args, files], {
      env: { ...process.env, ...env },
      stdio: 'pipe',
    });
    const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
    return { output, errors, code: child.exitCode };
  };
  try {
    const refused = await run([]);
    assert.notEqual(refused.code, 0);
    assert.match(refused.errors, /stopped: .*self-signed certificate.*NODE_EXTRA_CA_CERTS.*--insecure/i);
    const trusted = await run([], { NODE_EXTRA_CA_CERTS: certificate ?? '' });
    assert.equal(trusted.errors, '');
    assert.match(trusted.output, /stored +1\n/);
    assert.match((await run(['--insecure'])).output, /already there +1\n/);
  } finally {
    await server.close();
  }
});
