// Runs the compiled suites with node's test runner: `npm test`, or `node scripts/test.mjs <part of a file name>…` for some.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

const root = new URL('..', import.meta.url).pathname;
const suites = readdirSync(join(root, 'dist', 'test'), { recursive: true })
  .map(String)
  .filter((file) => file.endsWith('.test.js'))
  .map((file) => join(root, 'dist', 'test', file))
  .sort();
const wanted = process.argv.slice(2);
const chosen =
  wanted.length === 0 ? suites : suites.filter((file) => wanted.some((part) => relative(root, file).includes(part)));
if (chosen.length === 0) {
  process.stderr.write(`no suite matches ${wanted.join(' ')}; run \`npm run build\` first?\n`);
  process.exit(1);
}
// A test that failed may leave a server or a connection open: the run ends all the same.
const run = spawnSync(
  process.execPath,
  ['--enable-source-maps', '--test', '--test-force-exit', '--test-concurrency=2', '--test-reporter=spec', ...chosen],
  // DCMTK leaves Nagle on, which stalls every C-STORE for 40 ms: no suite means to measure that.
  { stdio: 'inherit', env: { ...process.env, TCP_NODELAY: '1', UV_THREADPOOL_SIZE: '16' } },
);
process.exit(run.status ?? 1);
