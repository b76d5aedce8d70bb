/** The command line, run as users run it. */

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { verifyPassword } from '../src/password.ts';
import { freePort, ROOT, temporaryFolder } from './peer.ts';

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
      env: { ...process.env, ISEN__HTTP_PORT: '0', ...env },
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
  const configuration = { Name: name, HttpPort: port, StorageDirectory: 'storage', StableAge: 1 };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(configuration));
  const child = spawn(process.execPath, [program, 'serve', join(folder, 'config.json')], {
    cwd: folder,
    stdio: 'ignore',
  });
  running.push(child);
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
});
