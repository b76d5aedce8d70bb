/** Owns the part of the `database` contract that is about deleting, recycling within limits, and stability. */

import assert from 'node:assert/strict';
import type { Database, Operation } from '../../src/database/database.ts';
import { LEVELS, type Level } from '../../src/dicom/levels.ts';
import { attachmentOf, publicIdOf, storing } from './instances.ts';
import {
  type Check,
  A,
  alreadyStored,
  ids,
  instance,
  log,
  one,
  outcome,
  population,
  series,
  stored,
  study,
  unknownResource,
} from './population.ts';

/** Checks of the contract that are made with `check`. */
export function deletingContract(check: Check): void {
  // --- deleting ---------------------------------------------------------------------------------------------------------

  check('deleting names the nearest ancestor left, and logs children before parents', async (database) => {
    const of = (level: Level, id: string): Operation => ({ kind: 'delete', level, id });
    const first = await database.commit([of('Instance', instance('1.1.1.1'))]);
    assert.deepEqual(first.outcomes, [{ kind: 'deleted', remaining: { level: 'Series', id: series('1.1.1') } }]);
    assert.deepEqual(log(first), ['Deleted Instance']);
    assert.deepEqual(first.removals, [population[0].attachment.uuid]);
    const second = await database.commit([of('Instance', instance('1.1.1.2'))]);
    assert.deepEqual(second.outcomes, [{ kind: 'deleted', remaining: { level: 'Study', id: study('1.1') } }]);
    assert.deepEqual(log(second), ['Deleted Instance', 'Deleted Series']);
    const third = await database.commit([of('Study', study('1.1'))]);
    assert.deepEqual(third.outcomes, [{ kind: 'deleted', remaining: { level: 'Patient', id: publicIdOf(A) } }]);
    assert.deepEqual(log(third), ['Deleted Instance', 'Deleted Series', 'Deleted Study']);
    const fourth = await database.commit([of('Series', series('1.2.1'))]);
    assert.deepEqual(fourth.outcomes, [{ kind: 'deleted', remaining: undefined }]);
    assert.deepEqual(log(fourth), ['Deleted Instance', 'Deleted Series', 'Deleted Study', 'Deleted Patient']);
    assert.equal(fourth.changes.at(-1)?.id, publicIdOf(A));
    assert.deepEqual(await ids(database, { level: 'Instance' }), [population[4].ids.Instance]);
    assert.deepEqual(await database.statistics(), {
      patients: 1,
      studies: 1,
      series: 1,
      instances: 1,
      diskSize: 1000,
      uncompressedSize: 1000,
      dicomDiskSize: 1000,
      dicomUncompressedSize: 1000,
    });
    assert.deepEqual(await outcome(database, of('Series', series('1.2.1'))), unknownResource);
  });

  check('a deletion in steps takes no more at once than it may, and what that leaves empty', async (database) => {
    const id = publicIdOf(A);
    const step = (most: number) => database.commit([{ kind: 'delete', level: 'Patient', id, most }]);
    const rest = [{ kind: 'deleted', remaining: undefined, rest: true }];
    const label: Operation = { kind: 'label', level: 'Instance', id: instance('1.1.1.1'), label: 'l', present: true };
    await database.commit([label]);
    const logs: string[][] = [];
    const gone: string[] = [];
    for (const [most, left] of [
      [2, 3],
      [1, 2],
    ] as const) {
      const committed = await step(most);
      assert.deepEqual(committed.outcomes, rest);
      assert.equal(committed.removals.length, most);
      assert.equal((await database.statistics())?.instances, left);
      gone.push(...committed.removals);
      logs.push(log(committed));
    }
    const last = await step(1);
    assert.deepEqual(last.outcomes, [{ kind: 'deleted', remaining: undefined }]);
    const all = [...logs.flat(), ...log(last)];
    const count = (what: string): number => all.filter((each) => each === `Deleted ${what}`).length;
    assert.deepEqual(LEVELS.map(count), [1, 2, 3, 4]);
    assert.deepEqual(
      [...gone, ...last.removals].sort(),
      population
        .slice(0, 4)
        .map((each) => each.attachment.uuid)
        .sort(),
    );
    assert.deepEqual((await step(1)).outcomes, [unknownResource]);
    assert.deepEqual(await ids(database, { level: 'Series' }), [population[4].ids.Series]);
    await database.commit(population);
    assert.deepEqual((await one(database, { level: 'Instance', id: instance('1.1.1.1') })).labels, []);
  });

  check('a deleted patient takes everything that hangs on it, and can come back', async (database) => {
    const id = publicIdOf(A);
    const [mine, other] = [attachmentOf(1025), attachmentOf(1026)];
    await database.commit([
      { kind: 'attachment', level: 'Patient', id, contentType: 1025, attachment: mine },
      { kind: 'attachment', level: 'Series', id: series('1.1.2'), contentType: 1026, attachment: other },
      { kind: 'metadata', level: 'Study', id: study('1.1'), name: 'mine', value: 'x' },
      { kind: 'label', level: 'Instance', id: instance('1.1.1.1'), label: 'l', present: true },
    ]);
    const committed = await database.commit([{ kind: 'delete', level: 'Patient', id }]);
    assert.deepEqual(log(committed), [
      ...Array.from({ length: 4 }, () => 'Deleted Instance'),
      ...Array.from({ length: 3 }, () => 'Deleted Series'),
      'Deleted Study',
      'Deleted Study',
      'Deleted Patient',
    ]);
    const expected = [...population.slice(0, 4).map((each) => each.attachment.uuid), mine.uuid, other.uuid].sort();
    assert.deepEqual([...committed.removals].sort(), expected);
    assert.equal((await database.statistics())?.diskSize, 1000);
    // The row ids that became free are given away again: nothing of the old ones may stick to them.
    await database.commit(population);
    assert.deepEqual((await one(database, { level: 'Patient', id })).attachments, []);
    assert.deepEqual((await one(database, { level: 'Instance', id: instance('1.1.1.1') })).labels, []);
    assert.equal((await one(database, { level: 'Study', id: study('1.1') })).metadata['mine'], undefined);
  });

  check('storing, deleting and storing again in one batch is what it says', async (database) => {
    const chain = { patient: 'C', study: '3', series: '3.1', instance: '3.1.1' };
    const id = publicIdOf('C', '3', '3.1', '3.1.1');
    const committed = await database.commit([
      storing(chain),
      { kind: 'delete', level: 'Instance', id },
      storing(chain),
      { kind: 'delete', level: 'Patient', id: publicIdOf('C') },
      storing({ ...chain, patient: 'D' }),
    ]);
    assert.deepEqual(
      committed.outcomes.map((each) => each.kind),
      ['stored', 'deleted', 'stored', 'deleted', 'stored'],
    );
    assert.deepEqual(await ids(database, { level: 'Patient', of: { level: 'Patient', id: publicIdOf('C') } }), []);
    const found = await one(database, { level: 'Patient', id: publicIdOf('D') });
    assert.notEqual(found.metadata['LastUpdate']?.value, '19700101T000000');
    assert.equal(found.isStable, false);
    assert.equal((await database.statistics())?.patients, 3);
  });

  check('blobs to remove stay listed until they are forgotten', async (database, reopen) => {
    const { removals } = await database.commit([{ kind: 'delete', level: 'Study', id: study('1.1') }]);
    assert.equal(removals.length, 3);
    const again = await reopen();
    assert.deepEqual([...(await again.removals(10))].sort(), [...removals].sort());
    assert.equal((await again.removals(2)).length, 2);
    const [first = '', ...rest] = removals;
    assert.deepEqual(await outcome(again, { kind: 'forget', uuids: [first] }), { kind: 'done' });
    assert.deepEqual([...(await again.removals(10))].sort(), [...rest].sort());
  });

  check('attached tells the blobs that are referred to', async (database) => {
    const file = attachmentOf(1025);
    await database.commit([
      { kind: 'attachment', level: 'Study', id: study('1.1'), contentType: 1025, attachment: file },
      { kind: 'delete', level: 'Study', id: study('1.2') },
    ]);
    const [first, , , gone] = population;
    const stray = attachmentOf(1).uuid;
    const uuids = [first.attachment.uuid, file.uuid, gone.attachment.uuid, stray];
    assert.deepEqual(await database.attached(uuids), new Set([first.attachment.uuid, file.uuid]));
    assert.deepEqual(await database.attached([]), new Set());
  });

  // --- limits -----------------------------------------------------------------------------------------------------------

  const patientOf = (name: string, size = 1000) =>
    storing({ patient: name, study: `${name}1`, series: `${name}11`, instance: `${name}${size}`, size });
  const patients = async (database: Database): Promise<string[]> =>
    (await database.find({ level: 'Patient' })).map((found) => found.tags['0010,0020'] ?? '').sort();

  check(
    'the patient that is oldest by its last instance is recycled',
    async (database) => {
      await database.commit([patientOf('P'), patientOf('Q')]);
      await database.commit([patientOf('R')]);
      await database.commit([patientOf('P', 1001)]);
      const committed = await database.commit([patientOf('S')]);
      assert.deepEqual(committed.outcomes, [stored]);
      assert.deepEqual(await patients(database), ['P', 'R', 'S']);
      assert.deepEqual(log(committed), [
        'Deleted Instance',
        'Deleted Series',
        'Deleted Study',
        'Deleted Patient',
        'NewInstance',
        'NewSeries',
        'NewStudy',
        'NewPatient',
      ]);
      assert.equal(committed.removals.length, 1);
    },
    { maximumPatientCount: 3 },
    [],
  );

  check(
    'a protected patient is not recycled; freed again it goes last',
    async (database) => {
      const protect = (name: string, value: boolean): Operation => ({
        kind: 'protect',
        id: publicIdOf(name),
        protected: value,
      });
      await database.commit([patientOf('P'), patientOf('Q'), protect('P', true)]);
      assert.equal((await one(database, { level: 'Patient', id: publicIdOf('P') })).isProtected, true);
      await database.commit([patientOf('R')]);
      assert.deepEqual(await patients(database), ['P', 'R']);
      await database.commit([patientOf('P', 1001)]);
      assert.equal((await one(database, { level: 'Patient', id: publicIdOf('P') })).isProtected, true);
      await database.commit([protect('R', true)]);
      assert.deepEqual(await outcome(database, patientOf('S')), { kind: 'refused', error: 'FullStorage' });
      assert.deepEqual(await outcome(database, patientOf('R', 1001)), stored, 'a known patient is no new one');
      await database.commit([protect('R', false), protect('P', false)]);
      await database.commit([patientOf('S')]);
      assert.deepEqual(await patients(database), ['P', 'S']);
      assert.deepEqual(await outcome(database, protect('nobody', true)), unknownResource);
    },
    { maximumPatientCount: 2 },
    [],
  );

  check(
    'recycling makes room for bytes, never by the patient being stored, and refuses what cannot fit',
    async (database) => {
      await database.commit([patientOf('P', 400), patientOf('Q', 400)]);
      const refused = { kind: 'refused', error: 'FullStorage' } as const;
      const before = await database.lastSeq();
      assert.deepEqual(await outcome(database, patientOf('R', 1001)), refused);
      assert.equal(await database.lastSeq(), before, 'what cannot fit recycles nobody');
      // Q's own 400 bytes cannot be recycled for it: P's are not enough.
      const committed = await database.commit([patientOf('Q', 700), patientOf('Q', 200)]);
      assert.deepEqual(committed.outcomes, [refused, stored]);
      assert.deepEqual(await patients(database), ['P', 'Q'], 'a refusal changes nothing');
      assert.deepEqual(log(committed), ['NewInstance']);
      assert.deepEqual(committed.removals, []);
      assert.deepEqual(await outcome(database, patientOf('Q', 300)), stored);
      assert.deepEqual(await patients(database), ['Q']);
      assert.equal((await database.statistics())?.diskSize, 900);
      assert.deepEqual(await outcome(database, patientOf('Q', 200)), alreadyStored, 'needs no room');
      const id = publicIdOf('Q');
      const attach = (size: number): Operation => ({
        kind: 'attachment',
        level: 'Patient',
        id,
        contentType: 1025,
        attachment: attachmentOf(1025, size),
      });
      assert.deepEqual(await outcome(database, attach(200)), refused);
      assert.deepEqual(await outcome(database, attach(100)), { kind: 'written', revision: 0 });
    },
    { maximumStorageSize: 1000 },
    [],
  );

  check(
    'Reject refuses instead of recycling',
    async (database) => {
      const { outcomes } = await database.commit([patientOf('P', 600), patientOf('Q', 600), patientOf('P', 300)]);
      assert.deepEqual(outcomes, [stored, { kind: 'refused', error: 'FullStorage' }, stored]);
      assert.deepEqual(await patients(database), ['P']);
    },
    { maximumStorageSize: 1000, mode: 'Reject' },
    [],
  );

  check(
    'patients of one batch are recycled in the order of their instances',
    async (database) => {
      const committed = await database.commit(['P', 'Q', 'R', 'S', 'T'].map((name) => patientOf(name)));
      assert.deepEqual(
        committed.outcomes,
        committed.outcomes.map(() => stored),
      );
      assert.deepEqual(await patients(database), ['S', 'T']);
    },
    { maximumPatientCount: 2 },
    [],
  );

  // --- stability --------------------------------------------------------------------------------------------------------

  check(
    'resources become stable once their deadline has passed, and unstable again by a new instance',
    async (database, reopen) => {
      const deadline = await database.nextStable();
      assert.ok(deadline !== undefined && Math.abs(deadline - Date.now() - 5000) < 2000);
      assert.deepEqual(await outcome(database, { kind: 'stabilize', now: Date.now(), limit: 100 }), {
        kind: 'stabilized',
        count: 0,
      });
      const again = await reopen();
      assert.equal(await again.nextStable(), deadline, 'the wait survives a restart');
      const now = Date.now() + 6000;
      const first = await again.commit([{ kind: 'stabilize', now, limit: 4 }]);
      assert.deepEqual(log(first), ['StableSeries', 'StableSeries', 'StableSeries', 'StableSeries']);
      const second = await again.commit([{ kind: 'stabilize', now, limit: 100 }]);
      assert.deepEqual(second.outcomes, [{ kind: 'stabilized', count: 5 }]);
      assert.deepEqual(log(second).sort(), [
        'StablePatient',
        'StablePatient',
        'StableStudy',
        'StableStudy',
        'StableStudy',
      ]);
      assert.equal(await again.nextStable(), undefined);
      assert.equal((await one(again, { level: 'Study', id: study('1.1') })).isStable, true);
      await again.commit([storing({ patient: A, study: '1.1', series: '1.1.1', instance: 'late' })]);
      for (const [level, id, stable] of [
        ['Patient', publicIdOf(A), false],
        ['Study', study('1.1'), false],
        ['Series', series('1.1.1'), false],
        ['Series', series('1.1.2'), true],
        ['Study', study('1.2'), true],
      ] as const) {
        assert.equal((await one(again, { level, id })).isStable, stable, `${level} ${id}`);
      }
      const third = await again.commit([{ kind: 'stabilize', now, limit: 100 }]);
      assert.deepEqual(log(third), ['StableSeries', 'StableStudy', 'StablePatient']);
    },
    { stableAge: 5000 },
  );
}
