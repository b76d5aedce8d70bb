import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { type ParseTask, survey, surveyEach } from '../../src/dicom/parsing.ts';
import { make } from './made.ts';

/** A file of so many bytes of pixels. */
const image = (sopUid: string, size: number): Buffer =>
  make({ sopUid, bits: 16, rows: 10, columns: size / 20, pixels: randomBytes(size) });

const whole = (bytes: Uint8Array): ParseTask => ({ bytes, size: bytes.length, hash: true });

test('several at once are what each is by itself, and what is no DICOM fails alone', () => {
  const sizes = [20, 140_000, 400_000, 17_000, 160_000, 400_000, 230_000];
  const files = sizes.map((size, index) => image(`1.2.3.${index}`, size));
  const tasks = files.map(whole);
  const cut = { ...whole(files[1]?.subarray(0, 139_000) ?? Buffer.alloc(0)), size: files[1]?.length ?? 0, cut: true };
  const unhashed = { ...whole(files[2] ?? Buffer.alloc(0)), hash: false };
  const known = { ...whole(files[2] ?? Buffer.alloc(0)), md5: 'ab'.repeat(16) };
  const all = [...tasks, whole(randomBytes(150_000)), cut, unhashed, known];
  for (const some of [all, [...all].reverse(), all.slice(0, 2), all.slice(1, 3), all.slice(2, 3)]) {
    const answers = surveyEach(some);
    assert.equal(answers.length, some.length);
    for (const [index, task] of some.entries()) {
      const answer = answers[index];
      assert.ok(answer);
      if ('error' in answer) {
        assert.equal(answer.error.code, 'BadFileFormat');
        assert.throws(() => survey(task), { code: 'BadFileFormat' });
        continue;
      }
      assert.deepEqual(answer.ok, survey(task));
      const md5 = createHash('md5').update(task.bytes).digest('hex');
      assert.equal(answer.ok.md5, task.md5 ?? (task.hash && task.bytes.length === task.size ? md5 : ''));
    }
  }
  assert.equal(surveyEach(all).filter((answer) => 'error' in answer).length, 1);
});
