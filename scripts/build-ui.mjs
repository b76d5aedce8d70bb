// Builds the web interface into dist/ui, with every file compressed beside it, where something of it is newer than the last build.
import {
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const root = fileURLToPath(new URL('..', import.meta.url));
const built = join(root, 'dist', 'ui');
/** Written last, so that a build that was cut short is not taken for one. */
const STAMP = '.built';
const sources = [
  join(root, 'package-lock.json'),
  fileURLToPath(import.meta.url),
  ...readdirSync(join(root, 'ui'), { recursive: true }).map((file) => join(root, 'ui', String(file))),
];
const changed = Math.max(...sources.map((file) => statSync(file).mtimeMs));
const isBuilt = () => (statSync(join(built, STAMP), { throwIfNoEntry: false })?.mtimeMs ?? 0) > changed;
if (isBuilt()) process.exit(0);

/** Several servers of one checkout may start at once: each builds beside, and the first that is ready is taken. */
const making = `${built}-${process.pid}`;

// What is changed while it is being built is not in it.
const begun = new Date();
const { build } = await import('vite');
await build({
  configFile: join(root, 'ui', 'vite.config.ts'),
  logLevel: 'error',
  build: { outDir: making, emptyOutDir: true },
});
for (const file of readdirSync(making, { recursive: true }).map((name) => join(making, String(name)))) {
  if (!/\.(html|js|css|svg|json|wasm)$/.test(file)) continue;
  const body = readFileSync(file);
  writeFileSync(`${file}.gz`, gzipSync(body, { level: 9 }));
  const params = { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: body.length };
  writeFileSync(`${file}.br`, brotliCompressSync(body, { params }));
}
writeFileSync(join(making, STAMP), '');
utimesSync(join(making, STAMP), begun, begun);
const old = `${making}-old`;
try {
  if (!isBuilt() && existsSync(built)) renameSync(built, old);
  renameSync(making, built);
} catch (error) {
  // Another one was there first.
  if (!isBuilt()) throw error;
} finally {
  for (const folder of [making, old]) rmSync(folder, { recursive: true, force: true });
}
