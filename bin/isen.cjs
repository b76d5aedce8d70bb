#!/usr/bin/env node
// The launcher. CommonJS on purpose: it must set the size of libuv's thread pool before anything (the ES module loader
// included) starts that pool, and in a source checkout it builds what is stale before the program is loaded.
'use strict';
const { existsSync } = require('node:fs');
const { spawnSync } = require('node:child_process');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');

// Every write waits for the disk inside a pool thread: four (the default) would queue the fifth fdatasync.
process.env.UV_THREADPOOL_SIZE ??= '16';

const root = join(__dirname, '..');
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
if (existsSync(join(root, 'tsconfig.json')) && existsSync(compiler)) {
  const build = spawnSync(process.execPath, [compiler, '-b', root], { stdio: 'inherit' });
  if (build.status !== 0) process.exit(build.status ?? 1);
}
import(pathToFileURL(join(root, 'dist', 'src', 'cli.js')).href).catch((error) => {
  process.stderr.write(`${error?.stack ?? error}\n`);
  process.exit(1);
});
