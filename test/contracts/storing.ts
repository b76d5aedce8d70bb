/** Owns the part of the `database` contract that is about storing, restarts, commits that fail or race, and reading meanwhile. */

import assert from 'node:assert/strict';
import type { Constraint, FindRequest } from '../../src/database/database.ts';
import type { Level } from '../../src/dicom/levels.ts';
import { attachmentOf, publicIdOf, storing } from './instances.ts';
import {
  type Check,
  A,
  alreadyStored,
  ids,
  instance,
  log,
  one,
  population,
  series,
  stored,
  study,
} from './population.ts';

/** Checks of the contract that are made with `check`. */
export function storingContract(check: Check): void {
  // --- reading while others read and write ------------------------------------------------------------------------------

  const many = Array.from({ length: 6000 }, (_, index) =>
    storing({ patient: 'M', study: '5', series: `5.${index % 3}`, instance: `5.${index % 3}.${index}` }),
  );
  check(
    'what is committed while long searches are under way is seen at once, and found by none of them twice',
    async (database) => {
      const [first] = many;
      assert.ok(first);
      let running = 4;
      let meanwhile = 0;
      const end = Date.now() + 10_000;
      const searches = Array.from({ length: running }, async () => {
        const of = { level: 'Patient', id: first.ids.Patient } as const;
        let found: string[];
        // Again when all of it was over before the first commit.
        do found = await ids(database, { level: 'Instance', of });
        while (meanwhile === 0 && Date.now() < end);
        running -= 1;
        return found;
      });
      while (running > 0) {
        const version = database.version();
        const label = `label${meanwhile}`;
        await database.commit([{ kind: 'label', level: 'Instance', id: first.ids.Instance, label, present: true }]);
        const { labels } = await one(database, { level: 'Instance', id: first.ids.Instance });
        assert.ok(labels.includes(label), label);
        assert.ok(version === undefined || version !== database.version());
        if (running > 0) meanwhile += 1;
      }
      assert.ok(meanwhile > 0, 'a commit fell into the searches');
      const expected = many.map((each) => each.ids.Instance).sort();
      for (const found of await Promise.all(searches)) assert.deepEqual(found, expected);
    },
    {},
    many,
  );

  // --- storing ----------------------------------------------------------------------------------------------------------

  check(
    'storing logs the instance, then the parents it made, upwards',
    async (database) => {
      const committed = await database.commit(population);
      assert.deepEqual(
        committed.outcomes,
        population.map(() => stored),
      );
      assert.deepEqual(log(committed), [
        'NewInstance',
        'NewSeries',
        'NewStudy',
        'NewPatient',
        'NewInstance',
        'NewInstance',
        'NewSeries',
        'NewInstance',
        'NewSeries',
        'NewStudy',
        'NewInstance',
        'NewSeries',
        'NewStudy',
        'NewPatient',
      ]);
      assert.deepEqual(
        committed.changes.map((change) => change.seq),
        committed.changes.map((_, index) => index + 1),
      );
      const [first] = committed.changes;
      assert.equal(first?.id, population[0].ids.Instance);
      assert.match(first?.date ?? '', /^20\d{6}T\d{6}$/);
      const { changes } = await database.changes({ limit: 100 });
      assert.deepEqual(changes, committed.changes);
      assert.deepEqual(committed.removals, []);
    },
    {},
    [],
  );

  check('an instance that is there is AlreadyStored, in a later batch and in the same one', async (database) => {
    const again = storing({ patient: A, study: '1.1', series: '1.1.1', instance: '1.1.1.1' });
    const fresh = { patient: A, study: '1.1', series: '1.1.1', instance: 'new' };
    const committed = await database.commit([again, storing(fresh), storing(fresh)]);
    assert.deepEqual(committed.outcomes, [alreadyStored, stored, alreadyStored]);
    assert.deepEqual(log(committed), ['NewInstance']);
    assert.deepEqual(committed.removals, []);
    const kept = await one(database, { level: 'Instance', id: instance('1.1.1.1') });
    assert.equal(kept.attachments[0]?.uuid, population[0].attachment.uuid);
    assert.equal((await database.statistics())?.instances, 6);
  });

  check('Overwrite Always replaces file, tags and metadata, and drops what users added', async (database) => {
    const id = instance('1.1.1.1');
    const report = attachmentOf(1025);
    await database.commit([
      { kind: 'metadata', level: 'Instance', id, name: 'mine', value: 'x' },
      { kind: 'attachment', level: 'Instance', id, contentType: 1025, attachment: report },
      { kind: 'label', level: 'Series', id: series('1.1.1'), label: 'kept', present: true },
    ]);
    const before = await database.statistics();
    const replacing = storing({
      patient: A,
      study: '1.1',
      series: '1.1.1',
      instance: '1.1.1.1',
      instanceTags: { '0020,0013': '77' },
      seriesTags: { '0008,0060': 'US' },
      size: 5000,
      overwrite: 'Always',
    });
    const committed = await database.commit([replacing]);
    assert.deepEqual(committed.outcomes, [stored]);
    assert.deepEqual(log(committed), ['NewInstance']);
    assert.deepEqual([...committed.removals].sort(), [population[0].attachment.uuid, report.uuid].sort());
    assert.deepEqual([...(await database.removals(10))].sort(), [...committed.removals].sort());
    const found = await one(database, { level: 'Instance', id, ancestors: true });
    assert.equal(found.tags['0020,0013'], '77');
    assert.equal(found.metadata['mine'], undefined);
    assert.deepEqual(found.attachments, [{ ...replacing.attachment, revision: 0 }]);
    assert.equal(found.ancestors?.Series?.tags['0008,0060'], 'MR', 'a series with other instances keeps its tags');
    assert.deepEqual((await one(database, { level: 'Series', id: series('1.1.1') })).labels, ['kept']);
    const after = await database.statistics();
    assert.equal(after?.instances, before?.instances);
    assert.equal(after?.dicomDiskSize, (before?.dicomDiskSize ?? 0) + 4000);
    assert.equal(after?.diskSize, (before?.diskSize ?? 0) + 4000 - 1000);
  });

  check('overwriting the only instance of its ancestors gives these its tags', async (database) => {
    const committed = await database.commit([
      storing({
        patient: 'B',
        study: '2.1',
        series: '2.1.1',
        instance: '2.1.1.1',
        patientTags: { '0010,0010': 'MARRIED^BERTA' },
        studyTags: { '0008,0050': 'NEW' },
        overwrite: 'Always',
      }),
    ]);
    assert.deepEqual(log(committed), ['NewInstance']);
    const found = await one(database, { level: 'Patient', id: publicIdOf('B') });
    assert.equal(found.tags['0010,0010'], 'MARRIED^BERTA');
    const where: Constraint[] = [{ tag: '0008,0050', caseSensitive: false, match: 'equal', value: 'new' }];
    assert.deepEqual(await ids(database, { level: 'Study', where }), [publicIdOf('B', '2.1')]);
  });

  check('Overwrite IfChanged looks at size and MD5', async (database) => {
    const chain = { patient: 'C', study: '3', series: '3.1', instance: '3.1.1', overwrite: 'IfChanged' as const };
    const same = { ...chain, size: 10, content: 'x' };
    const { outcomes, removals } = await database.commit([
      storing(same),
      storing(same),
      storing({ ...same, content: 'y' }),
      storing({ ...same, content: 'y', size: 11 }),
    ]);
    assert.deepEqual(outcomes, [stored, alreadyStored, stored, stored]);
    assert.equal(removals.length, 2);
  });

  check('a series is completed when its instances have the expected indexes, each once', async (database) => {
    const of = (index: number, overwrite: 'Never' | 'Always' = 'Never') =>
      storing({
        patient: 'C',
        study: '3',
        series: '3.1',
        instance: `3.1.${index}`,
        seriesMetadata: { ExpectedNumberOfInstances: '3' },
        instanceMetadata: { IndexInSeries: `${index}` },
        overwrite,
      });
    assert.deepEqual(log(await database.commit([of(1), of(2)])).includes('CompletedSeries'), false);
    assert.deepEqual(log(await database.commit([of(3)])), ['NewInstance', 'CompletedSeries']);
    assert.deepEqual(log(await database.commit([of(2, 'Always')])), ['NewInstance', 'CompletedSeries']);
    assert.deepEqual(log(await database.commit([of(4)])), ['NewInstance']);
    await database.commit([{ kind: 'delete', level: 'Instance', id: publicIdOf('C', '3', '3.1', '3.1.1') }]);
    assert.deepEqual(log(await database.commit([of(2, 'Always')])), ['NewInstance'], 'indexes 2, 3 and 4 of 1 to 3');
  });

  check('a resource has the metadata of the reference', async (database) => {
    const found = async (level: Level, id: string) => {
      const { metadata } = await one(database, { level, id });
      return Object.fromEntries(Object.entries(metadata).map(([name, { value }]) => [name, value]));
    };
    const patient = await found('Patient', publicIdOf(A));
    assert.match(patient['LastUpdate'] ?? '', /^20\d{6}T\d{6}$/);
    assert.deepEqual(Object.keys(patient).sort(), ['LastUpdate', 'MainDicomTagsSignature']);
    assert.equal(patient['MainDicomTagsSignature'], '0010,0010;0010,0020;0010,0030;0010,0040;0010,1000');
    assert.deepEqual(Object.keys(await found('Study', study('1.1'))).sort(), ['LastUpdate', 'MainDicomTagsSignature']);
    const ofSeries = await found('Series', series('1.1.1'));
    assert.deepEqual(Object.keys(ofSeries).sort(), ['LastUpdate', 'MainDicomTagsSignature', 'RemoteAET']);
    assert.equal(ofSeries['RemoteAET'], 'SENDER');
    const ofInstance = await found('Instance', instance('1.1.1.1'));
    assert.deepEqual(Object.keys(ofInstance).sort(), [
      'MainDicomTagsSignature',
      'Origin',
      'ReceptionDate',
      'RemoteAET',
      'SopClassUid',
      'TransferSyntax',
    ]);
  });

  // --- the transaction --------------------------------------------------------------------------------------------------

  check('everything is there after a restart', async (database, reopen) => {
    await database.commit([{ kind: 'protect', id: publicIdOf(A), protected: true }]);
    const request: FindRequest = { level: 'Patient', children: true, computed: true, instance: true };
    const before = await database.find(request);
    const statistics = await database.statistics();
    const again = await reopen();
    assert.deepEqual(await again.find(request), before);
    assert.deepEqual(await again.statistics(), statistics);
    assert.deepEqual((await again.commit([population[0]])).outcomes, [alreadyStored]);
  });

  check('a commit that fails half-way changes nothing', async (database) => {
    const chain = { patient: 'C', study: '3', series: '3.1', instance: '3.1.1' };
    const bad = storing({ ...chain, instance: '3.1.2' });
    const broken = { ...bad, summary: bad.summary.replace(bad.ids.Instance, 'x'.repeat(44)) };
    const before = await database.statistics();
    await assert.rejects(
      database.commit([storing(chain), { kind: 'delete', level: 'Study', id: study('1.1') }, broken]),
      { name: 'IsenError' },
    );
    assert.deepEqual(await database.statistics(), before);
    assert.equal(await database.lastSeq(), 14);
    assert.deepEqual(await database.removals(10), []);
    // What was held in memory of the failed commit must be gone too.
    const { outcomes, changes } = await database.commit([storing(chain)]);
    assert.deepEqual(outcomes, [stored]);
    assert.deepEqual(
      changes.map((change) => change.seq),
      [15, 16, 17, 18],
    );
  });

  check('commits that race are all there, in the order of their numbers', async (database) => {
    const all = await Promise.all(
      Array.from({ length: 50 }, async (_, index) =>
        database.commit([storing({ patient: 'C', study: '3', series: '3.1', instance: `3.1.${index}` })]),
      ),
    );
    const seqs = all.flatMap((committed) => committed.changes.map((change) => change.seq)).sort((a, b) => a - b);
    assert.deepEqual(
      seqs,
      seqs.map((_, index) => index + 15),
    );
    assert.equal(seqs.length, 53);
    assert.equal((await database.statistics({ level: 'Patient', id: publicIdOf('C') }))?.instances, 50);
  });

  check('an empty commit is no error', async (database) => {
    assert.deepEqual(await database.commit([]), { outcomes: [], changes: [], removals: [] });
  });
}
