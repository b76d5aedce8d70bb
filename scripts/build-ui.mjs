// Builds the web interface into dist/ui, with every file compressed beside it, where something of it is newer than the last build.
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const root = fileURLToPath(new URL('..', import.meta.url));
const built = join(root, 'dist', 'ui');
/** Written last, so that a build that was cut short is not taken for one. */
const stamp = join(built, '.built');
const sources = [
  join(root, 'package-lock.json'),
  fileURLToPath(import.meta.url),
  ...readdirSync(join(root, 'ui'), { recursive: true }).map((file) => join(root, 'ui', String(file))),
];
const changed = Math.max(...sources.map((file) => statSync(file).mtimeMs));
if (existsSync(stamp) && statSync(stamp).mtimeMs > changed) process.exit(0);

const { build } = await import('vite');
await build({ configFile: join(root, 'ui', 'vite.config.ts'), logLevel: 'warn' });
for (const file of readdirSync(built, { recursive: true }).map((name) => join(built, String(name)))) {
  if (!/\.(html|js|css|svg|json|wasm)$/.test(file)) continue;
  const body = readFileSync(file);
  writeFileSync(`${file}.gz`, gzipSync(body, { level: 9 }));
  const params = { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: body.length };
  writeFileSync(`${file}.br`, brotliCompressSync(body, { params }));
}
writeFileSync(stamp, '');
