/** Owns the rule that imports go one way: each room may import only itself and what stands before it. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, sep } from 'node:path';
import { test } from 'node:test';
import { ROOT } from './peer.ts';

/** Room → rooms it may import besides itself; the files at the root of src are the room ''. */
const base = ['', 'dicom', 'imaging', 'storage', 'database', 'scu'];
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  '': [],
  dicom: [''],
  imaging: ['', 'dicom'],
  storage: ['', 'dicom', 'imaging'],
  database: ['', 'dicom', 'imaging', 'storage'],
  scu: ['', 'dicom', 'imaging'],
  changes: base,
  ingest: [...base, 'changes'],
  jobs: [...base, 'changes', 'ingest'],
  scp: [...base, 'changes', 'ingest', 'jobs'],
  http: [...base, 'changes', 'ingest', 'jobs'],
};
const COMPOSITION = ['main.ts', 'cli.ts', 'backends.ts', 'migrate.ts', 'import.ts', 'import-sources.ts'];
const FORBIDDEN_NAMES = ['utils', 'helpers', 'common', 'types', 'index'];

const sources = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true })
    .map(String)
    .filter((file) => file.endsWith('.ts'));

function imports(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) => match[1] ?? '');
}

test('every import of src goes towards the foundations', () => {
  for (const file of sources('src')) {
    if (COMPOSITION.includes(file)) continue;
    const room = file.includes(sep) ? (file.split(sep)[0] ?? '') : '';
    const allowed = ALLOWED[room];
    assert.ok(allowed, `src/${file}: the layout knows no room "${room}"`);
    for (const target of imports(join(ROOT, 'src', file))) {
      const resolved = normalize(join(dirname(file), target));
      const other = resolved.includes(sep) ? (resolved.split(sep)[0] ?? '') : '';
      assert.ok(!COMPOSITION.includes(resolved), `src/${file} imports ${resolved}: only the launcher does`);
      assert.ok(other === room || allowed.includes(other), `src/${file} may not import ${target}`);
    }
  }
});

test('workers import dicom, imaging, the writer of SQLite and the reception thread of the storage only', () => {
  for (const file of sources('workers')) {
    for (const target of imports(join(ROOT, 'workers', file))) {
      const resolved = normalize(join('workers', dirname(file), target));
      assert.match(
        resolved,
        /^src\/(dicom\/|imaging\/|database\/sqlite|storage\/parse-and-put\.ts$|[^/]+\.ts$)/,
        `workers/${file} may not import ${target}`,
      );
    }
  }
});

test('no file has a name that says nothing', () => {
  for (const folder of ['src', 'workers', 'test', 'bench', 'deploy']) {
    for (const file of sources(folder)) {
      const name =
        file
          .split(sep)
          .at(-1)
          ?.replace(/(\.test|\.generated)?\.ts$/, '') ?? '';
      assert.ok(!FORBIDDEN_NAMES.includes(name), `${folder}/${file}`);
      assert.match(name, /^[a-z0-9]+([.-][a-z0-9]+)*$/, `${folder}/${file} is not in kebab case`);
    }
  }
});

test('dcmjs-dimse stays in scu and scp', () => {
  for (const file of sources('src')) {
    if (/^(scu|scp)\//.test(file)) continue;
    assert.doesNotMatch(readFileSync(join(ROOT, 'src', file), 'utf8'), /from '(dcmjs|dcmjs-dimse)'/, `src/${file}`);
  }
});
