/** Owns the part of the `database` contract that is about the log of changes, durable work and the log of exports. */

import assert from 'node:assert/strict';
import type { Database, NewWork, Operation, Outcome, WorkRequest } from '../../src/database/database.ts';
import type { Level } from '../../src/dicom/levels.ts';
import { publicIdOf, storing } from './instances.ts';
import { A, type Check, instance, outcome, study, unknownResource } from './population.ts';

/** Checks of the contract that are made with `check`. */
export function workingContract(check: Check): void {
  // --- the log ----------------------------------------------------------------------------------------------------------

  check('the log is read from a Seq, up to one, and by type', async (database) => {
    const seqs = async (request: Parameters<Database['changes']>[0]) => {
      const { changes, more } = await database.changes(request);
      return [changes.map((change) => change.seq), more] as const;
    };
    const last = await database.lastSeq();
    assert.equal(last, 14);
    assert.deepEqual(await seqs({ limit: 3 }), [[1, 2, 3], true]);
    assert.deepEqual(await seqs({ since: 3, limit: 3 }), [[4, 5, 6], true]);
    assert.deepEqual(await seqs({ since: 11, limit: 3 }), [[12, 13, 14], false]);
    assert.deepEqual(await seqs({ since: 99, limit: 3 }), [[], false]);
    assert.deepEqual(await seqs({ limit: 0 }), [[], false]);
    assert.deepEqual(await seqs({ to: 10, limit: 3 }), [[8, 9, 10], true]);
    assert.deepEqual(await seqs({ to: 2, limit: 3 }), [[1, 2], false]);
    assert.deepEqual(await seqs({ since: 2, to: 4, limit: 3 }), [[3, 4], false]);
    assert.deepEqual(await seqs({ limit: 9, types: ['NewPatient'] }), [[4, 14], false]);
    assert.deepEqual(await seqs({ limit: 1, types: ['NewPatient'] }), [[4], true]);
    assert.deepEqual(await seqs({ limit: 9, types: ['NewStudy', 'NewPatient'], since: 4 }), [[10, 13, 14], false]);
    assert.deepEqual(await seqs({ limit: 2, types: ['NewStudy', 'NewPatient'], to: 13 }), [[10, 13], true]);
    assert.deepEqual(await seqs({ limit: 3, types: ['NewInstance'] }), [[1, 5, 6], true]);
    assert.deepEqual(await seqs({ limit: 9, types: ['NewPatient', 'NewInstance'], since: 6 }), [[8, 11, 14], false]);
    assert.deepEqual(await seqs({ limit: 2, types: ['NewInstance'], to: 10 }), [[6, 8], true]);
    assert.deepEqual(await seqs({ limit: 2, types: [] }), [[], false]);
  });

  check('an emptied log goes on with its numbers, after a restart too', async (database, reopen) => {
    await database.commit([{ kind: 'clear-changes' }]);
    assert.deepEqual(await database.changes({ limit: 10 }), { changes: [], more: false });
    assert.equal(await database.lastSeq(), 14);
    const again = await reopen();
    assert.equal(await again.lastSeq(), 14);
    const { changes } = await again.commit([storing({ patient: A, study: '1.1', series: '1.1.1', instance: 'x' })]);
    assert.deepEqual(
      changes.map((change) => change.seq),
      [15],
    );
  });

  // --- durable work -----------------------------------------------------------------------------------------------------

  const work = (id: string, others: Partial<NewWork> = {}): NewWork => ({
    queue: 'q',
    id,
    group: '',
    priority: 0,
    due: 0,
    value: '{}',
    ...others,
  });
  const entries = (done: Outcome): string[] => (done.kind === 'work' ? done.entries.map(({ id }) => id) : []);
  const take = async (database: Database, limit: number, now = Date.now()): Promise<string[]> =>
    entries(await outcome(database, { kind: 'work-take', queue: 'q', limit, now }));
  /** `state count` of each count. */
  const counts = async (database: Database, of?: Parameters<Database['workCounts']>[0]): Promise<string[]> =>
    (await database.workCounts(of)).map(({ queue, state, count }) => `${queue} ${state} ${count}`);

  check(
    'work is taken by priority, then in order of adding, and once',
    async (database, reopen) => {
      const added = await database.commit([
        {
          kind: 'work-add',
          entries: [work('a'), work('b', { priority: 5 }), work('c'), work('a', { value: '"other"' })],
        },
        { kind: 'work-add', entries: [work('d', { priority: -1 }), work('a', { queue: 'other', value: '[1]' })] },
      ]);
      assert.deepEqual(added.outcomes.map(entries), [
        ['a', 'b', 'c'],
        ['d', 'a'],
      ]);
      assert.deepEqual(await take(database, 2), ['b', 'a']);
      const again = await reopen();
      assert.deepEqual(await counts(again), ['other waiting 1', 'q waiting 2', 'q active 2']);
      assert.deepEqual(await take(again, 9), ['c', 'd']);
      assert.deepEqual(await take(again, 9), []);
      const [first] = await again.work({ queue: 'q', id: 'a', limit: 1 });
      assert.ok(first && Math.abs(first.added - Date.now()) < 60_000);
      assert.deepEqual(first, { ...work('a'), seq: 1, state: 'active', attempts: 1, added: first.added, reason: '' });
    },
    {},
    [],
  );

  check(
    'work waits for its time, and its priority counts when that has come',
    async (database) => {
      await database.commit([
        {
          kind: 'work-add',
          entries: [
            work('late', { due: 2000, priority: 9 }),
            work('soon', { due: 1000 }),
            work('never', { due: 5000 }),
          ],
        },
      ]);
      assert.equal(await database.nextWork('q'), 1000);
      assert.equal(await database.nextWork('other'), undefined);
      assert.deepEqual(await take(database, 9, 999), []);
      assert.deepEqual(await take(database, 1, 2000), ['late']);
      assert.equal(await database.nextWork('q'), 0);
      assert.deepEqual(await take(database, 9, 2000), ['soon']);
      assert.equal(await database.nextWork('q'), 5000);
    },
    {},
    [],
  );

  check(
    'work is settled: state, time, priority, reason and value, or nothing where it is elsewhere already',
    async (database) => {
      await database.commit([{ kind: 'work-add', entries: ['a', 'b', 'c'].map((id) => work(id)) }]);
      await take(database, 2);
      const settled = await outcome(database, {
        kind: 'work-settle',
        settlements: [
          { queue: 'q', id: 'a', state: 'retrying', due: 7000, priority: 3, reason: 'why', value: '"next"' },
          { queue: 'q', id: 'b', state: 'removed', from: ['active'] },
          { queue: 'q', id: 'c', state: 'done', from: ['active', 'paused'] },
          { queue: 'q', id: 'nobody', state: 'done' },
        ],
      });
      assert.ok(settled.kind === 'work');
      assert.deepEqual(entries(settled), ['a', 'b']);
      const [a] = await database.work({ queue: 'q', id: 'a', limit: 1 });
      assert.deepEqual(settled.entries[0], a);
      assert.deepEqual(
        [a?.state, a?.due, a?.priority, a?.reason, a?.value, a?.attempts],
        ['retrying', 7000, 3, 'why', '"next"', 1],
      );
      assert.equal(settled.entries[1]?.state, 'active');
      assert.deepEqual(await counts(database), ['q waiting 1', 'q retrying 1']);
      assert.deepEqual(await take(database, 9, 7000), ['a', 'c']);
      // What was removed is new again, behind the others.
      const added = await outcome(database, { kind: 'work-add', entries: [work('b')] });
      assert.ok(added.kind === 'work' && (added.entries[0]?.seq ?? 0) > 3);
    },
    {},
    [],
  );

  check(
    'work is listed and counted by queue, group and state, page by page in both directions',
    async (database) => {
      const group = (index: number): string => (index % 2 === 0 ? 'even' : '');
      await database.commit([
        {
          kind: 'work-add',
          entries: Array.from({ length: 9 }, (_, index) => work(`${index}`, { group: group(index) })),
        },
        { kind: 'work-add', entries: [work('0', { queue: 'r', group: 'even' })] },
        { kind: 'work-take', queue: 'q', limit: 3, now: 1 },
        { kind: 'work-settle', settlements: [{ queue: 'q', id: '1', state: 'failed', reason: 'x' }] },
      ]);
      const list = async (request: Partial<WorkRequest> = {}): Promise<string> =>
        (await database.work({ queue: 'q', limit: 99, ...request })).map(({ id }) => id).join('');
      assert.equal(await list(), '012345678');
      assert.equal(await list({ limit: 2 }), '01');
      assert.equal(await list({ limit: 0 }), '');
      assert.equal(await list({ descending: true, limit: 3 }), '876');
      assert.equal(await list({ after: 3, limit: 3 }), '345');
      assert.equal(await list({ after: 3, descending: true }), '10');
      assert.equal(await list({ states: ['active', 'failed'] }), '012');
      assert.equal(await list({ states: ['waiting'], after: 5 }), '5678');
      assert.equal(await list({ states: [] }), '');
      assert.equal(await list({ group: 'even' }), '02468');
      assert.equal(await list({ group: 'even', states: ['active'], descending: true }), '20');
      assert.equal(await list({ group: '' }), '1357');
      assert.equal(await list({ id: '3' }), '3');
      assert.equal(await list({ id: '3', states: ['active'] }), '');
      assert.equal(await list({ id: '3', group: 'even' }), '');
      assert.equal(await list({ queue: 'nobody' }), '');
      assert.deepEqual(await counts(database), ['q waiting 6', 'q active 2', 'q failed 1', 'r waiting 1']);
      assert.deepEqual(await counts(database, { queue: 'r' }), ['r waiting 1']);
      assert.deepEqual(await counts(database, { group: 'even' }), ['q waiting 3', 'q active 2', 'r waiting 1']);
      assert.deepEqual(await counts(database, { group: 'even', queue: 'r' }), ['r waiting 1']);
      assert.deepEqual(await counts(database, { group: 'nobody' }), []);
      const oldest = (await database.workCounts({ queue: 'q' })).find(({ state }) => state === 'waiting')?.oldest;
      assert.equal(oldest, (await database.work({ queue: 'q', id: '3', limit: 1 }))[0]?.added);
    },
    {},
    [],
  );

  check('work is added with a property or not at all', async (database) => {
    const property: Operation = { kind: 'property', name: 'position', value: '7' };
    const broken = { kind: 'work-add', entries: [work('x', { value: undefined as unknown as string })] } as const;
    await assert.rejects(database.commit([{ kind: 'work-add', entries: [work('a')] }, property, broken]));
    assert.deepEqual(await database.work({ queue: 'q', limit: 9 }), []);
    assert.deepEqual(await database.workCounts(), []);
    assert.equal(await database.property('position'), undefined);
    await database.commit([{ kind: 'work-add', entries: [work('a')] }, property]);
    assert.equal((await database.work({ queue: 'q', limit: 9 })).length, 1);
    assert.equal(await database.property('position'), '7');
  });

  // --- exports ----------------------------------------------------------------------------------------------------------

  check('exports are logged with the identifiers of the resource, and listed from a Seq', async (database, reopen) => {
    const to = (level: Level, id: string): Operation => ({ kind: 'export', level, id, remote: 'pacs' });
    const { outcomes, changes } = await database.commit([
      to('Patient', publicIdOf(A)),
      to('Instance', instance('1.1.2.1')),
      to('Series', study('1.1')),
    ]);
    assert.deepEqual(outcomes, [{ kind: 'done' }, { kind: 'done' }, unknownResource]);
    assert.deepEqual(changes, []);
    const { exports, more } = await database.exports({ limit: 9 });
    assert.equal(more, false);
    const [first, second] = exports;
    assert.deepEqual(first, {
      seq: 1,
      level: 'Patient',
      id: publicIdOf(A),
      date: first?.date,
      remote: 'pacs',
      patientId: A,
      studyInstanceUid: '',
      seriesInstanceUid: '',
      sopInstanceUid: '',
    });
    assert.match(first?.date ?? '', /^20\d{6}T\d{6}$/);
    assert.deepEqual(
      [second?.patientId, second?.studyInstanceUid, second?.seriesInstanceUid, second?.sopInstanceUid],
      [A, '1.1', '1.1.2', '1.1.2.1'],
    );
    assert.deepEqual(await database.exports({ limit: 1 }), { exports: [first], more: true });
    assert.deepEqual(await database.exports({ since: 1, limit: 1 }), { exports: [second], more: false });
    assert.deepEqual(await database.exports({ last: true, limit: 5 }), { exports: [second], more: false });
    assert.deepEqual(await database.exports({ since: 2, limit: 5 }), { exports: [], more: false });
    await database.commit([{ kind: 'clear-exports' }]);
    const again = await reopen();
    assert.deepEqual(await again.exports({ limit: 9 }), { exports: [], more: false });
    await again.commit([to('Patient', publicIdOf(A))]);
    assert.equal((await again.exports({ limit: 9 })).exports[0]?.seq, 3);
  });
}
