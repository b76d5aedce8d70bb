/** Remembered queries and commitments: the latest stay, the oldest go, and nothing but what was asked for is believed. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCommitments } from '../../src/jobs/commitments.ts';
import { createQueries, type StoredQuery } from '../../src/jobs/queries.ts';

const answer = { identifier: [], characterSet: '' };

const query = (answers: number): StoredQuery => ({
  modality: 'pacs',
  level: 'Study',
  keys: [],
  answers: Array.from({ length: answers }, () => answer),
  timeout: undefined,
  localAet: undefined,
});

test('the oldest queries go when there are too many', async () => {
  const queries = createQueries(3);
  const ids: string[] = [];
  for (let each = 0; each < 5; each += 1) ids.push(await queries.add(query(1)));
  assert.deepEqual(await queries.list(), ids.slice(2));
  assert.equal(await queries.get(ids[0] ?? ''), undefined);
  await queries.remove(ids[3] ?? '');
  await queries.remove('nope');
  assert.deepEqual(await queries.list(), [ids[2], ids[4]]);
});

test('the oldest queries go when their answers are too many, but the last one stays', async () => {
  const queries = createQueries(100);
  const first = await queries.add(query(100_000));
  const second = await queries.add(query(90_000));
  assert.deepEqual(await queries.list(), [first, second]);
  const third = await queries.add(query(50_000));
  assert.deepEqual(await queries.list(), [second, third]);
  const huge = await queries.add(query(300_000));
  assert.deepEqual(await queries.list(), [huge]);
});

test('a commitment is reported once it was asked for, by who was asked', () => {
  const commitments = createCommitments(2);
  const reference = { sopClassUid: '1.2', sopInstanceUid: '3.4' };
  const result = { transactionUid: 'T', references: [reference], failed: [] };
  assert.equal(commitments.report(result, 'PACS'), false);
  commitments.expect('T', 'PACS');
  assert.equal(commitments.get('T')?.status, 'Pending');
  assert.equal(commitments.report(result, 'OTHER'), false);
  assert.equal(commitments.report({ ...result, failed: [{ ...reference, reason: 0x112 }] }, 'PACS'), true);
  assert.equal(commitments.get('T')?.status, 'Failure');
  assert.equal(commitments.report(result, 'pacs'), true);
  assert.deepEqual(commitments.get('T')?.success, [reference]);
  commitments.expect('U', 'PACS');
  commitments.expect('V', 'PACS');
  assert.equal(commitments.get('T'), undefined);
  commitments.forget('V');
  assert.equal(commitments.get('V'), undefined);
});
