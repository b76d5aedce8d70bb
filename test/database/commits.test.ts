/** The count of commits that a thread shares with its readers. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { counted, countOf, newCommits } from '../../src/database/sqlite/commits.ts';

test('a commit has another count when it has ended, however it ends, and none before', () => {
  const commits = newCommits();
  const before = countOf(commits);
  counted(commits, () => assert.equal(countOf(commits), undefined));
  const after = countOf(commits);
  assert.notEqual(after, before);
  assert.notEqual(after, undefined);
  assert.throws(() =>
    counted(commits, () => {
      throw new Error('the disk is full');
    }),
  );
  assert.notEqual(countOf(commits), after);
  assert.notEqual(countOf(commits), undefined);
});
