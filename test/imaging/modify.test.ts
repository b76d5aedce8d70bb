import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { HEADER_MD5 } from '../../src/dicom/parsing.ts';
import type { IsenError } from '../../src/errors.ts';
import { modify, type ModifyTask } from '../../src/imaging/modify.ts';
import { make } from '../dicom/made.ts';

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');
const isCorrupted = ({ code }: IsenError): boolean => code === 'CorruptedFile';

function taskOf(bytes: Buffer, hash: boolean): ModifyTask {
  const into = { memory: new Uint8Array(new SharedArrayBuffer(1 << 20)), hash };
  return { body: {}, level: 'Study', patientName: 'Nobody', seed: 'job', bytes, md5: md5(bytes), into };
}

test('what becomes of a file has its own digests, and comes of the file that was stored only', () => {
  for (const hash of [true, false]) {
    const bytes = make({ rows: 64, columns: 64 });
    const task = taskOf(bytes, hash);
    const { into: _, ...alone } = task;
    const made = modify(task);
    assert.ok('parsed' in made);
    const result = task.into?.memory.subarray(0, made.size) ?? new Uint8Array();
    assert.equal(made.parsed.md5, hash ? md5(result) : '');
    assert.equal(made.parsed.summary.includes(HEADER_MD5), hash);

    // In the pixels, which nobody looks at; and where nothing can be made of it.
    const altered = Buffer.from(bytes);
    altered[altered.length - 1] = 0x55;
    assert.throws(() => modify({ ...task, bytes: altered }), isCorrupted);
    assert.throws(() => modify({ ...task, bytes: bytes.subarray(0, 300) }), isCorrupted);
    assert.throws(() => modify({ ...alone, bytes: altered }), isCorrupted);
    assert.ok('parsed' in modify({ ...task, bytes: altered, md5: '' }));
  }
});
