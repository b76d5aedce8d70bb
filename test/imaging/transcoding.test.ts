/** Owns the proof of what a transcoding thread answers about stored and received files. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { summarize } from '../../src/dicom/summary.ts';
import { answerTranscoding, type IngestRule } from '../../src/imaging/transcoding.ts';
import { make } from '../dicom/made.ts';

const IMPLICIT = '1.2.840.10008.1.2';
const EXPLICIT = '1.2.840.10008.1.2.1';
const RLE = '1.2.840.10008.1.2.5';
const md5Of = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

test('a stored file is transcoded in memory of its own, unless it is not the one that was stored', () => {
  const bytes = make();
  const task = { bytes, syntax: RLE, quality: 90 };
  const made = answerTranscoding({ ...task, md5: md5Of(bytes) }).bytes ?? assert.fail();
  assert.equal(summarize(made).metadata.Instance['TransferSyntax'], RLE);
  assert.equal(made.buffer.byteLength, made.length);
  assert.deepEqual(answerTranscoding(task).bytes, made);
  assert.throws(() => answerTranscoding({ ...task, md5: md5Of(made) }), { code: 'CorruptedFile' });
  // In its own transfer syntax too: what is given may be someone else's memory.
  const same = answerTranscoding({ ...task, syntax: EXPLICIT }).bytes;
  assert.deepEqual(same, new Uint8Array(bytes));
  assert.notEqual(same?.buffer, bytes.buffer);
});

test('received files are transcoded by the rule', () => {
  const both: IngestRule = { ofUncompressed: true, ofCompressed: true, hash: true };
  const rle = answerTranscoding({ bytes: make(), syntax: RLE, quality: 90 }).bytes ?? assert.fail();
  const files: Readonly<Record<string, Uint8Array>> = {
    [IMPLICIT]: make({ transferSyntax: IMPLICIT }),
    [EXPLICIT]: make(),
    '1.2.840.10008.1.2.2': make({ transferSyntax: '1.2.840.10008.1.2.2' }),
    // Deflated is not what the reference calls uncompressed.
    '1.2.840.10008.1.2.1.99': make({ transferSyntax: '1.2.840.10008.1.2.1.99' }),
    [RLE]: rle,
  };
  for (const ofUncompressed of [true, false]) {
    for (const ofCompressed of [true, false]) {
      for (const [source, bytes] of Object.entries(files)) {
        const rule = { ofUncompressed, ofCompressed, hash: ofCompressed };
        const answer = answerTranscoding({ bytes, syntax: '1.2.840.10008.1.2.4.80', quality: 90, rule });
        const isCompressed = source.endsWith('.99') || source === RLE;
        assert.equal(answer.problem, undefined);
        assert.equal(answer.bytes !== undefined, isCompressed ? ofCompressed : ofUncompressed, source);
        if (answer.bytes === undefined) continue;
        assert.deepEqual(answer.parsed?.ids, summarize(bytes).ids);
        assert.equal(answer.parsed?.md5, ofCompressed ? md5Of(answer.bytes) : '');
        const { metadata } = JSON.parse(answer.parsed?.summary ?? '') as ReturnType<typeof summarize>;
        assert.equal(metadata.Instance['TransferSyntax'], '1.2.840.10008.1.2.4.80');
      }
    }
  }
  assert.deepEqual(answerTranscoding({ bytes: rle, syntax: RLE, quality: 90, rule: both }), {});
});

test('a received file that cannot be transcoded is left as it is, and it is said why if it is DICOM', () => {
  const rule: IngestRule = { ofUncompressed: true, ofCompressed: true, hash: true };
  const ask = (bytes: Uint8Array, syntax: string) => answerTranscoding({ bytes, syntax, quality: 90, rule });
  for (const [bytes, syntax, reason] of [
    [make(), '1.2.840.10008.1.2.4.50', /cannot be encoded in transfer syntax/],
    [make({ transferSyntax: '1.2.840.10008.1.2.4.102' }), EXPLICIT, /Cannot decode/],
    [make({ transferSyntax: '1.2.840.10008.1.2.4.70' }), EXPLICIT, /Bad file format/],
    [make({ rows: 4000 }), RLE, undefined],
    [make({ extra: [{ tag: '0028,0010', vr: 'US', value: [4000] }] }), RLE, /shorter/],
  ] as const) {
    const answer = ask(bytes, syntax);
    assert.equal(answer.bytes === undefined, reason !== undefined);
    if (reason !== undefined) assert.match(answer.problem ?? '', reason);
  }
  assert.deepEqual(ask(Buffer.from('no DICOM'), RLE), {});
  assert.deepEqual(ask(make({ without: ['0008,0018'] }), RLE), {});
  assert.deepEqual(ask(make().subarray(0, -10), RLE), {});
});
