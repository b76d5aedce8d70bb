#!/usr/bin/env node
// The launcher. CommonJS on purpose: it must set up libuv's thread pool and V8 before anything (the ES module loader
// included) starts that pool, and in a source checkout it builds what is stale before the program is loaded.
'use strict';
const { existsSync } = require('node:fs');
const { spawnSync } = require('node:child_process');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');
const { setFlagsFromString } = require('node:v8');
const { runInNewContext } = require('node:vm');

// Every write waits for the disk inside a pool thread: four (the default) would queue the fifth fdatasync.
process.env.UV_THREADPOOL_SIZE ??= '16';

// Bodies pass as buffers outside the heap, which V8 counts against the limit of a small heap: it marked the whole heap
// after every thirty slices, at 1 ms of CPU a slice. A limit of three times what lives lets scavenges free them instead.
setFlagsFromString('--heap-growing-percent=200');

// Bodies come in blocks of 64 KB, which glibc gives back to the system as soon as they are freed, so that every block pays
// its page faults anew: 0.2 ms of CPU a slice. Freeing one large block makes it keep twice that much (mallopt(3), the
// dynamic mmap threshold).
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');
Buffer.allocUnsafeSlow(31 * 2 ** 20);
collect();

const root = join(__dirname, '..');
if (existsSync(join(root, 'tsconfig.json')) && !existsSync(join(root, 'node_modules'))) {
  process.stderr.write('isen: this checkout has no node_modules yet; run `npm ci` first\n');
  process.exit(1);
}
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
// Whoever starts many servers has built once before.
if (process.env.ISEN_BUILT === undefined && existsSync(join(root, 'tsconfig.json')) && existsSync(compiler)) {
  const build = spawnSync(process.execPath, [compiler, '-b', root], { stdio: 'inherit' });
  if (build.status !== 0) process.exit(build.status ?? 1);
  const ui = spawnSync(process.execPath, [join(root, 'scripts', 'build-ui.mjs')], { stdio: 'inherit' });
  if (ui.status !== 0) process.exit(ui.status ?? 1);
}
import(pathToFileURL(join(root, 'dist', 'src', 'cli.js')).href).catch((error) => {
  process.stderr.write(`${error?.stack ?? error}\n`);
  process.exit(1);
});
