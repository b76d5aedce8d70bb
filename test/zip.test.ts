/** The layout of ZIP archives: what readers make of them, below and above every limit that ZIP64 lifts. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { constants, deflateRawSync } from 'node:zlib';
import yauzl from 'yauzl';
import { crc32 } from '../src/crc32.ts';
import { ZipLayout } from '../src/zip.ts';
import { temporaryFolder, without } from './peer.ts';

const folder = temporaryFolder();

interface Read {
  readonly name: string;
  readonly size: number;
  readonly crc: number;
}

/** What a strict reader finds in an archive. */
async function entriesOf(path: string): Promise<Read[]> {
  const zip = await yauzl.openPromise(path, { strictFileNames: true, autoClose: false });
  const read: Read[] = [];
  try {
    for await (const entry of zip.eachEntry())
      read.push({ name: entry.fileName, size: entry.uncompressedSize, crc: entry.crc32 });
  } finally {
    zip.close();
  }
  return read;
}

function stored(zip: ZipLayout, name: string, bytes: Uint8Array): Buffer {
  const content = { crc: crc32(bytes), compressedSize: bytes.length, size: bytes.length };
  const head = zip.begin({ name, method: 'stored', content });
  return Buffer.concat([head, bytes, zip.end()]);
}

test('stored, deflated, and of sizes that follow, with names of any letters', { skip: without('unzip') }, async () => {
  const zip = new ZipLayout(new Date(2026, 10, 24, 12, 30, 8));
  const text = Buffer.from('the same again, '.repeat(1000));
  const deflated = deflateRawSync(text);
  const content = { crc: crc32(text), compressedSize: deflated.length, size: text.length };
  const parts = [
    stored(zip, 'a/stored', text),
    zip.begin({ name: 'a/deflated', method: 'deflated', content }),
    deflated,
    zip.end(),
    zip.begin({ name: 'a/später', method: 'deflated', size: text.length }),
    deflated,
    zip.end(content),
    stored(zip, 'empty', Buffer.alloc(0)),
    ...zip.finish(),
  ];
  const path = join(folder, 'small.zip');
  writeFileSync(path, Buffer.concat(parts));
  assert.equal(zip.size, Buffer.concat(parts).length);
  const { crc, size } = content;
  assert.deepEqual(await entriesOf(path), [
    { name: 'a/stored', crc, size },
    { name: 'a/deflated', crc, size },
    { name: 'a/später', crc, size },
    { name: 'empty', crc: 0, size: 0 },
  ]);
  const unzip = spawnSync('unzip', ['-t', path], { encoding: 'utf8' });
  assert.equal(unzip.status, 0, unzip.stdout + unzip.stderr);
  assert.match(spawnSync('zipinfo', [path], { encoding: 'utf8' }).stdout, /26-Nov-24 12:30 a\/stored/);
});

test('as many entries as 16 bits count are the last without ZIP64', { skip: without('unzip') }, () => {
  const bytes = Buffer.from('x');
  const made = (count: number): Buffer => {
    const zip = new ZipLayout();
    const parts = Array.from({ length: count }, (_, index) => stored(zip, `IM${index}`, bytes));
    return Buffer.concat([...parts, ...zip.finish()]);
  };
  const zip64 = Buffer.from('PK\x06\x06');
  assert.equal(made(65_534).lastIndexOf(zip64), -1);
  const count = 65_600;
  const path = join(folder, 'many.zip');
  const all = made(count);
  assert.ok(all.includes(zip64));
  writeFileSync(path, all);
  const { stdout } = spawnSync('zipinfo', ['-1', path], { encoding: 'utf8', maxBuffer: 1 << 24 });
  assert.equal(stdout.trim().split('\n').length, count);
  const last = spawnSync('unzip', ['-p', path, `IM${count - 1}`], { encoding: 'utf8' });
  assert.equal(last.stdout, 'x', last.stderr);
});

test('an entry, and an offset, of more than 32 bits', { skip: without('zipinfo') }, async () => {
  const zip = new ZipLayout();
  const path = join(folder, 'large.zip');
  const file = openSync(path, 'w');
  const size = 2 ** 32 + 5;
  const zeros = Buffer.alloc(1 << 20);
  let crc = 0;
  for (let at = 0; at < size; at += zeros.length) crc = crc32(zeros.subarray(0, size - at), crc);
  let position = 0;
  const write = (bytes: Uint8Array): void => {
    position += writeSync(file, bytes, 0, bytes.length, position);
  };
  // A hole, of which nothing is on the disk.
  write(zip.begin({ name: 'hole', method: 'stored', content: { crc, compressedSize: size, size } }));
  position += size;
  write(zip.end());
  // Pieces that were deflated apart, whose sizes follow.
  const piece = deflateRawSync(zeros, { level: 1, finishFlush: constants.Z_SYNC_FLUSH });
  write(zip.begin({ name: 'pieces', method: 'deflated', size }));
  let compressedSize = 0;
  for (let left = size; left > 0; left -= zeros.length) {
    const bytes = left > zeros.length ? piece : deflateRawSync(zeros.subarray(0, left), { level: 1 });
    compressedSize += bytes.length;
    write(bytes);
  }
  write(zip.end({ crc, compressedSize, size }));
  const small = Buffer.from('behind');
  write(stored(zip, 'behind', small));
  for (const bytes of zip.finish()) write(bytes);
  ftruncateSync(file, position);
  closeSync(file);
  assert.equal(zip.size, position);
  assert.deepEqual(await entriesOf(path), [
    { name: 'hole', crc, size },
    { name: 'pieces', crc, size },
    { name: 'behind', crc: crc32(small), size: small.length },
  ]);
  const info = spawnSync('zipinfo', [path], { encoding: 'utf8' });
  assert.equal(info.status, 0, info.stderr);
  const unzip = spawnSync('unzip', ['-p', path, 'behind'], { encoding: 'utf8' });
  assert.equal(unzip.stdout, 'behind');
});
