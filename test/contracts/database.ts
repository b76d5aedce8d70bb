/** Owns the contract of the `database` port: the same suite for every backend. */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  type Committed,
  type Constraint,
  type Database,
  type DatabaseLimits,
  type Expected,
  type FindRequest,
  MOST_IDS,
  type NewWork,
  type Operation,
  type Outcome,
  type WorkRequest,
} from '../../src/database/database.ts';
import { LEVELS, type Level } from '../../src/dicom/levels.ts';
import { attachmentOf, publicIdOf, storing, summaryOf } from './instances.ts';
import { searchingContract } from './searching.ts';

export const UNLIMITED: DatabaseLimits = {
  maximumStorageSize: 0,
  maximumPatientCount: 0,
  mode: 'Recycle',
  stableAge: 60_000,
};

/** Opens a backend on the data set `name`; the same name again is the same data. */
export type OpenDatabase = (name: string, limits: DatabaseLimits) => Promise<Database>;

const stored: Outcome = { kind: 'stored', status: 'Success' };
const alreadyStored: Outcome = { kind: 'stored', status: 'AlreadyStored' };
const unknownResource: Outcome = { kind: 'refused', error: 'UnknownResource' };

/** Types and levels of the changes of a commit, in order. */
function log(committed: Committed): string[] {
  return committed.changes.map(({ type, level }) => (type.endsWith(level) ? type : `${type} ${level}`));
}

/** The two patients of most tests: A with two studies (series of 2 + 1, and 1 instances), B with one instance. */
const A = 'A';
const population = [
  storing({
    patient: A,
    study: '1.1',
    series: '1.1.1',
    instance: '1.1.1.1',
    patientTags: { '0010,0010': 'Müller^Anna', '0010,0030': '19700101' },
    studyTags: { '0008,0020': '20200101', '0008,0050': 'ACC1', '0008,1030': 'Knee left' },
    seriesTags: { '0008,0060': 'MR', '0008,103e': 'T1 Sagittal' },
    instanceTags: { '0020,0013': '1' },
  }),
  storing({
    patient: A,
    study: '1.1',
    series: '1.1.1',
    instance: '1.1.1.2',
    patientTags: { '0010,0010': 'IGNORED' },
    instanceTags: { '0020,0013': '2' },
  }),
  storing({
    patient: A,
    study: '1.1',
    series: '1.1.2',
    instance: '1.1.2.1',
    seriesTags: { '0008,0060': 'CT' },
    instanceMetadata: { SopClassUid: '1.2.840.10008.5.1.4.1.1.4' },
  }),
  storing({
    patient: A,
    study: '1.2',
    series: '1.2.1',
    instance: '1.2.1.1',
    patientTags: { '0010,0010': 'Müller^Anna' },
    studyTags: { '0008,0020': '20210630', '0008,0050': 'ACC2' },
    seriesTags: { '0008,0060': 'CT' },
  }),
  storing({
    patient: 'B',
    study: '2.1',
    series: '2.1.1',
    instance: '2.1.1.1',
    patientTags: { '0010,0010': 'MULLER^BERTA' },
    studyTags: { '0008,0020': '', '0008,1030': 'a[b]*?' },
    seriesTags: { '0008,0060': 'CT' },
  }),
] as const;

const study = (uid: string): string => publicIdOf(A, uid);
const series = (uid: string): string => publicIdOf(A, uid.slice(0, 3), uid);
const instance = (uid: string): string => publicIdOf(A, uid.slice(0, 3), uid.slice(0, 5), uid);

export function databaseContract(backend: string, open: OpenDatabase): void {
  let count = 0;
  const check = (
    name: string,
    body: (database: Database, reopen: () => Promise<Database>, context: TestContext) => Promise<void>,
    limits: Partial<DatabaseLimits> = {},
    operations: readonly Operation[] = population,
  ): void => {
    test(`${backend}: ${name}`, async (context) => {
      const key = `contract${count++}`;
      let database = await open(key, { ...UNLIMITED, ...limits });
      const reopen = async (): Promise<Database> => {
        await database.close();
        database = await open(key, { ...UNLIMITED, ...limits });
        return database;
      };
      try {
        if (operations.length > 0) await database.commit(operations);
        await body(database, reopen, context);
      } finally {
        await database.close();
      }
    });
  };
  const ids = async (database: Database, request: FindRequest): Promise<string[]> =>
    (await database.find({ ...request, idsOnly: true })).map((found) => found.id);
  const one = async (database: Database, request: FindRequest) => {
    const [found, ...others] = await database.find(request);
    assert.ok(found);
    assert.equal(others.length, 0);
    return found;
  };
  const outcome = async (database: Database, operation: Operation): Promise<Outcome> => {
    const { outcomes } = await database.commit([operation]);
    assert.equal(outcomes.length, 1);
    return outcomes[0] as Outcome;
  };

  // --- reading while others read and write ----------------------------------------------------------------------

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

  // --- storing -------------------------------------------------------------------------------------------------

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

  // --- finding -------------------------------------------------------------------------------------------------

  check('one resource comes with everything that is asked', async (database) => {
    const found = await one(database, {
      level: 'Study',
      id: study('1.1'),
      children: true,
      ancestors: true,
      instance: true,
      computed: true,
    });
    assert.equal(found.level, 'Study');
    assert.equal(found.parent, publicIdOf(A));
    assert.deepEqual(found.tags, summaryOf(population[0]).tags.Study);
    assert.deepEqual(found.children, [series('1.1.1'), series('1.1.2')].sort());
    assert.equal(found.ancestors?.Patient?.id, publicIdOf(A));
    assert.deepEqual(found.ancestors?.Patient?.tags, summaryOf(population[0]).tags.Patient);
    assert.ok(found.ancestors?.Patient?.metadata['LastUpdate']);
    const below = population.slice(0, 3).find((each) => each.ids.Instance === found.instance?.id);
    assert.ok(below);
    assert.deepEqual(found.instance?.attachment, { ...below.attachment, revision: 0 });
    assert.equal(found.instance?.metadata['Origin']?.value, 'RestApi');
    assert.deepEqual(found.computed, {
      studies: 1,
      series: 2,
      instances: 3,
      modalities: ['CT', 'MR'],
      sopClasses: ['1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.5.1.4.1.1.4'],
    });
    assert.equal(found.isStable, false);
    assert.equal(found.isProtected, false);
    const bare = await one(database, { level: 'Study', id: study('1.1') });
    for (const absent of ['children', 'ancestors', 'instance', 'computed']) assert.ok(!(absent in bare), absent);
  });

  check('every level answers with every part', async (database) => {
    const everything = { children: true, ancestors: true, instance: true, computed: true };
    const patient = await one(database, { level: 'Patient', id: publicIdOf(A), ...everything });
    assert.deepEqual([patient.parent, patient.children], [undefined, [study('1.1'), study('1.2')].sort()]);
    assert.deepEqual(patient.ancestors, {});
    assert.deepEqual([patient.computed?.studies, patient.computed?.series, patient.computed?.instances], [2, 3, 4]);
    const ofSeries = await one(database, { level: 'Series', id: series('1.1.1'), ...everything });
    assert.deepEqual(Object.keys(ofSeries.ancestors ?? {}).sort(), ['Patient', 'Study']);
    assert.equal(ofSeries.computed?.instances, 2);
    assert.deepEqual(ofSeries.computed?.modalities, ['MR']);
    const ofInstance = await one(database, { level: 'Instance', id: instance('1.1.1.1'), ...everything });
    assert.deepEqual(Object.keys(ofInstance.ancestors ?? {}).sort(), ['Patient', 'Series', 'Study']);
    assert.deepEqual(ofInstance.children, []);
    assert.equal(ofInstance.instance?.id, ofInstance.id);
    assert.deepEqual(ofInstance.attachments, [{ ...population[0].attachment, revision: 0 }]);
  });

  check('lists come in order of public id, cut by since and limit', async (database) => {
    const all = [...population].map((each) => each.ids.Instance).sort();
    assert.deepEqual(await ids(database, { level: 'Instance' }), all);
    assert.deepEqual(await ids(database, { level: 'Instance', since: 1, limit: 2 }), all.slice(1, 3));
    assert.deepEqual(await ids(database, { level: 'Instance', since: 5 }), []);
    assert.deepEqual(await ids(database, { level: 'Instance', limit: 0 }), []);
    const where: Constraint[] = [{ tag: '0010,0020', caseSensitive: false, match: 'wildcard', value: '*' }];
    assert.deepEqual(await ids(database, { level: 'Instance', where, since: 2, limit: 2 }), all.slice(2, 4));
  });

  check(
    'a list goes on after a public id, whichever way it is searched, and whatever became of that one',
    async (database) => {
      const all = [...population].map((each) => each.ids.Instance).sort();
      const [first = '', second = '', third = ''] = all;
      const ways: Partial<FindRequest>[] = [
        {},
        { where: [{ tag: '0010,0020', caseSensitive: false, match: 'wildcard', value: '*' }] },
        { where: [{ tag: '0010,0020', caseSensitive: false, match: 'list', values: ['A', 'B'] }] },
      ];
      for (const way of ways) {
        const list = (request: Partial<FindRequest>) => ids(database, { level: 'Instance', ...way, ...request });
        assert.deepEqual(await list({ after: second }), all.slice(2));
        assert.deepEqual(await list({ after: second, limit: 1 }), all.slice(2, 3));
        assert.deepEqual(await list({ after: first, since: 2, limit: 1 }), all.slice(3, 4));
        assert.deepEqual(await list({ after: all.at(-1) ?? '' }), []);
        assert.deepEqual(await list({ after: 'no id' }), []);
        assert.deepEqual(await list({ after: '0'.repeat(8) + '-00000000'.repeat(4) }), all);
      }
      const of = { level: 'Patient', id: publicIdOf(A) } as const;
      const below = await ids(database, { level: 'Instance', of });
      assert.equal(below.length, 4);
      assert.deepEqual(await ids(database, { level: 'Instance', of, after: below[1] ?? '' }), below.slice(2));
      await database.commit([{ kind: 'delete', level: 'Instance', id: second }]);
      for (const way of ways) {
        assert.deepEqual(await ids(database, { level: 'Instance', ...way, after: second, limit: 1 }), [third]);
      }
    },
  );

  check(
    'resources are read by a list of ids: each once, in order, without those that are unknown',
    async (database) => {
      const all = await ids(database, { level: 'Instance' });
      const named = [...all].reverse().flatMap((id) => [id, publicIdOf('nobody'), 'nope', id]);
      assert.deepEqual(await ids(database, { level: 'Instance', ids: named }), all);
      const found = await database.find({ level: 'Instance', ids: named });
      assert.deepEqual(found, await database.find({ level: 'Instance' }));
      assert.deepEqual(await ids(database, { level: 'Series', ids: named }), []);
      assert.deepEqual(await ids(database, { level: 'Series', ids: [] }), []);
      const most = Array.from({ length: MOST_IDS }, (_, index) => all[index] ?? publicIdOf(`${index}`));
      assert.deepEqual(await ids(database, { level: 'Instance', ids: most }), all);
      await assert.rejects(database.find({ level: 'Instance', ids: [...most, 'another'] }), {
        code: 'ParameterOutOfRange',
      });
    },
  );

  check(
    'the instance of a study is of its first series, whatever was stored since',
    async (database) => {
      const first = series('1.1.1');
      const expected = await ids(database, { level: 'Instance', of: { level: 'Series', id: first } });
      for (let round = 0; round < 20; round++) {
        const later = { patient: A, study: '1.1', series: '1.1.1', instance: `1.1.1.9${round}` };
        await database.commit([
          { kind: 'stabilize', now: Date.now() + 2 * UNLIMITED.stableAge, limit: 100 },
          storing(later),
          storing({ ...later, series: `1.1.9${round}`, instance: `1.1.9${round}.1` }),
        ]);
        expected.push(publicIdOf(A, '1.1', '1.1.1', later.instance));
      }
      for (const [level, id] of [
        ['Patient', publicIdOf(A)],
        ['Study', study('1.1')],
        ['Series', first],
      ] as const) {
        const found = await one(database, { level, id, instance: true });
        assert.ok(expected.includes(found.instance?.id ?? ''), level);
      }
    },
    {},
    [population[0]],
  );

  check(
    'reconstructing gives resources what their file says; what else is known stays, and nothing is logged',
    async (database) => {
      const chain = { patient: A, study: '1.1', series: '1.1.1', instance: '1.1.1.1' };
      const id = instance('1.1.1.1');
      await database.commit([
        { kind: 'metadata', level: 'Study', id: study('1.1'), name: '1024', value: 'mine' },
        { kind: 'label', level: 'Study', id: study('1.1'), label: 'mine', present: true },
      ]);
      const summary = summaryOf(
        storing({
          ...chain,
          patientTags: { '0010,0010': 'New^Name' },
          studyTags: { '0008,1030': 'other' },
          seriesTags: { '0008,0060': 'XA' },
          instanceTags: { '0020,0013': '77' },
          instanceMetadata: { PixelDataOffset: '4711' },
        }),
      );
      const before = await one(database, { level: 'Instance', id });
      const last = await database.lastSeq();
      const { outcomes } = await database.commit([
        { kind: 'reconstruct', summary, levels: ['Patient', 'Study', 'Instance'] },
      ]);
      assert.deepEqual(outcomes, [{ kind: 'done' }]);
      assert.equal(await database.lastSeq(), last);
      const after = await one(database, { level: 'Instance', id });
      assert.deepEqual(after.tags, summary.tags.Instance);
      assert.deepEqual(after.attachments, before.attachments);
      assert.equal(after.metadata['PixelDataOffset']?.value, '4711');
      assert.equal(after.metadata['ReceptionDate']?.value, before.metadata['ReceptionDate']?.value);
      const found = await one(database, { level: 'Study', id: study('1.1') });
      assert.deepEqual(found.tags, summary.tags.Study);
      assert.equal(found.metadata['1024']?.value, 'mine');
      assert.deepEqual(found.labels, ['mine']);
      assert.notEqual((await one(database, { level: 'Series', id: series('1.1.1') })).tags['0008,0060'], 'XA');
      const where = [{ tag: '0010,0010', match: 'equal', value: 'new^name', caseSensitive: false }] as const;
      assert.deepEqual(await ids(database, { level: 'Patient', where }), [publicIdOf(A)]);
      const nobody = summaryOf(storing({ ...chain, instance: 'nobody' }));
      assert.deepEqual(
        await outcome(database, { kind: 'reconstruct', summary: nobody, levels: ['Study'] }),
        unknownResource,
      );
    },
  );

  check('an id that is unknown, or none at all, finds nothing', async (database) => {
    const levels = ['Patient', 'Study', 'Series', 'Instance'] as const;
    for (const level of levels) {
      for (const id of [publicIdOf('nobody'), '', 'nope', "' OR 1=1 --", '../../etc/passwd']) {
        assert.deepEqual(await database.find({ level, id }), []);
        assert.deepEqual(await database.find({ level, of: { level: 'Study', id } }), []);
        assert.equal(await database.statistics({ level, id }), undefined);
      }
      assert.deepEqual(
        await database.find({ level, id: study('1.1') }).then((list) => list.length),
        level === 'Study' ? 1 : 0,
      );
    }
  });

  check('relatives are found upwards and downwards', async (database) => {
    const of = (level: Level, id: string) => ({ level, id });
    assert.deepEqual(
      await ids(database, { level: 'Instance', of: of('Patient', publicIdOf(A)) }),
      population
        .slice(0, 4)
        .map((each) => each.ids.Instance)
        .sort(),
    );
    assert.deepEqual(
      await ids(database, { level: 'Instance', of: of('Series', series('1.1.1')) }),
      [instance('1.1.1.1'), instance('1.1.1.2')].sort(),
    );
    assert.deepEqual(await ids(database, { level: 'Patient', of: of('Instance', instance('1.2.1.1')) }), [
      publicIdOf(A),
    ]);
    assert.deepEqual(await ids(database, { level: 'Series', of: of('Instance', instance('1.2.1.1')) }), [
      series('1.2.1'),
    ]);
    assert.deepEqual(await ids(database, { level: 'Study', of: of('Study', study('1.2')) }), [study('1.2')]);
    assert.deepEqual(await ids(database, { level: 'Study', id: study('1.2'), of: of('Patient', publicIdOf('B')) }), []);
    assert.deepEqual(
      await ids(database, {
        level: 'Series',
        of: of('Patient', publicIdOf(A)),
        where: [{ tag: '0008,0060', caseSensitive: true, match: 'equal', value: 'CT' }],
      }),
      [series('1.1.2'), series('1.2.1')].sort(),
    );
  });

  const searches: readonly [string, Level, Constraint, readonly string[]][] = [
    ['equal ignores case and accents', 'Patient', c('0010,0010', { match: 'equal', value: 'muller^ANNA' }), [A]],
    ['equal takes the accents too', 'Patient', c('0010,0010', { match: 'equal', value: 'müller^anna' }), [A]],
    ['equal with case', 'Patient', c('0010,0010', { match: 'equal', value: 'müller^anna' }, true), []],
    ['equal with case, exact', 'Patient', c('0010,0010', { match: 'equal', value: 'Müller^Anna' }, true), [A]],
    ['prefix', 'Patient', c('0010,0010', { match: 'wildcard', value: 'mUl*' }), [A, 'B']],
    ['prefix with case', 'Patient', c('0010,0010', { match: 'wildcard', value: 'MUL*' }, true), ['B']],
    ['inside', 'Patient', c('0010,0010', { match: 'wildcard', value: '*er^b*' }), ['B']],
    ['one character', 'Patient', c('0010,0010', { match: 'wildcard', value: 'M?LLER^????' }), [A]],
    ['list', 'Patient', c('0010,0020', { match: 'list', values: ['b', 'zzz'] }), ['B']],
    ['empty list', 'Patient', c('0010,0020', { match: 'list', values: [] }), []],
    ['absent tag', 'Patient', c('0010,0030', { match: 'wildcard', value: '*' }), [A]],
    ['range', 'Study', c('0008,0020', { match: 'range', from: '20200101', to: '20201231' }), ['1.1']],
    ['range, open below', 'Study', c('0008,0020', { match: 'range', to: '20200101' }), ['1.1', '2.1']],
    ['range, open above', 'Study', c('0008,0020', { match: 'range', from: '20200102' }), ['1.2']],
    ['range, open', 'Study', c('0008,0020', { match: 'range' }), ['1.1', '1.2', '2.1']],
    ['ancestor', 'Study', c('0010,0020', { match: 'equal', value: 'B' }), ['2.1']],
    ['no pattern but of DICOM', 'Study', c('0008,1030', { match: 'wildcard', value: 'A[B]*' }), ['2.1']],
    ['brackets are no class', 'Study', c('0008,1030', { match: 'wildcard', value: '[AK]*' }), []],
    ['equal takes wildcards as they are', 'Study', c('0008,1030', { match: 'equal', value: 'A[B]*?' }), ['2.1']],
    ['tag without a column', 'Series', c('0008,103e', { match: 'wildcard', value: '*SAG*' }), ['1.1.1']],
    ['tag without a column, list', 'Series', c('0008,0060', { match: 'list', values: ['mr', 'us'] }), ['1.1.1']],
    ['grandparent', 'Instance', c('0008,0050', { match: 'equal', value: 'acc2' }), ['1.2.1.1']],
    ['number in series', 'Instance', c('0020,0013', { match: 'equal', value: '2' }), ['1.1.1.2']],
  ];
  const KEY: Readonly<Record<Level, string>> = {
    Patient: '0010,0020',
    Study: '0020,000d',
    Series: '0020,000e',
    Instance: '0008,0018',
  };
  for (const [name, level, constraint, expected] of searches) {
    check(`search: ${name}`, async (database) => {
      const found = await database.find({ level, where: [constraint] });
      assert.deepEqual(found.map((each) => each.tags[KEY[level]] ?? '').sort(), [...expected].sort());
    });
  }

  check('all conditions of a search must hold', async (database) => {
    const where: Constraint[] = [
      c('0010,0010', { match: 'wildcard', value: 'MUL*' }),
      c('0008,0020', { match: 'range', from: '20200101' }),
      c('0008,0060', { match: 'equal', value: 'CT' }),
    ];
    assert.deepEqual(await ids(database, { level: 'Series', where }), [series('1.1.2'), series('1.2.1')].sort());
  });

  check('a study is found by the name that it gives its patient', async (database) => {
    const own = { '0010,0010': 'OTHER^NAME' };
    await database.commit([
      storing({
        patient: '',
        study: 'n.1',
        series: 'n.1.1',
        instance: 'n.1.1.1',
        patientTags: { '0010,0010': 'FIRST' },
      }),
      storing({ patient: '', study: 'n.2', series: 'n.2.1', instance: 'n.2.1.1', patientTags: own }),
    ]);
    const where: Constraint[] = [c('0010,0010', { match: 'wildcard', value: 'other*' })];
    assert.deepEqual(await ids(database, { level: 'Study', where }), [publicIdOf('', 'n.2')]);
    assert.deepEqual(await ids(database, { level: 'Instance', where }), [publicIdOf('', 'n.2', 'n.2.1', 'n.2.1.1')]);
    assert.deepEqual(await ids(database, { level: 'Patient', where }), []);
  });

  check('a search on a tag outside the index is refused', async (database) => {
    const where = [c('0018,1152', { match: 'equal', value: '1' })];
    await assert.rejects(database.find({ level: 'Study', where }), { code: 'ParameterOutOfRange' });
  });

  check('long lists are whole, in order, and let the event loop turn', async (database) => {
    const operations = Array.from({ length: 6500 }, (_, index) =>
      storing({
        patient: 'LONG',
        study: '9',
        series: `9.${index % 3}`,
        instance: `9.${index % 3}.${index}`,
        instanceTags: { '0020,0013': `${index}` },
      }),
    );
    await database.commit(operations);
    const expected = operations.map((each) => each.ids.Instance).sort();
    const everything = [...expected, ...population.map((each) => each.ids.Instance)].sort();
    let turns = 0;
    let counting = true;
    const count = (): void => {
      turns++;
      if (counting) setImmediate(count);
    };
    setImmediate(count);
    assert.deepEqual(await ids(database, { level: 'Instance' }), everything);
    counting = false;
    assert.ok(turns > 2, `${turns} turns`);
    const found = await database.find({ level: 'Instance', of: { level: 'Patient', id: publicIdOf('LONG') } });
    assert.deepEqual(
      found.map((each) => each.id),
      expected,
    );
    // More rows than an index is followed for.
    const where = [c('0010,0020', { match: 'equal', value: 'long' })];
    assert.deepEqual(await ids(database, { level: 'Instance', where }), expected);
    assert.deepEqual(
      await ids(database, { level: 'Instance', where, since: 6000, limit: 100 }),
      expected.slice(6000, 6100),
    );
    const [last] = await ids(database, {
      level: 'Instance',
      where: [...where, c('0020,0013', { match: 'equal', value: '6499' })],
    });
    assert.equal(last, operations.at(-1)?.ids.Instance);
  });

  searchingContract(check);

  check('lookup finds by any unique identifier, ignoring case', async (database) => {
    assert.deepEqual(await database.lookup('a'), [{ level: 'Patient', id: publicIdOf(A) }]);
    assert.deepEqual(await database.lookup('1.1'), [{ level: 'Study', id: study('1.1') }]);
    assert.deepEqual(await database.lookup('acc2'), [{ level: 'Study', id: study('1.2') }]);
    assert.deepEqual(await database.lookup('1.1.2'), [{ level: 'Series', id: series('1.1.2') }]);
    assert.deepEqual(await database.lookup('1.1.2.1'), [{ level: 'Instance', id: instance('1.1.2.1') }]);
    assert.deepEqual(await database.lookup('Knee left'), []);
    await database.commit([storing({ patient: '1.1', study: 'x', series: '1.1', instance: 'y' })]);
    assert.deepEqual(
      (await database.lookup('1.1')).map(({ level }) => level),
      ['Patient', 'Study', 'Series'],
    );
  });

  check('statistics of the server and of one resource', async (database) => {
    const file = attachmentOf(1025, 300);
    const compressed = { ...file, compressedSize: 100, compressedMD5: '00'.repeat(16), compression: 'zlib' as const };
    await database.commit([
      { kind: 'attachment', level: 'Study', id: study('1.1'), contentType: 1025, attachment: compressed },
    ]);
    const base = { patients: 2, studies: 3, series: 4, instances: 5 };
    assert.deepEqual(await database.statistics(), {
      ...base,
      diskSize: 5100,
      uncompressedSize: 5300,
      dicomDiskSize: 5000,
      dicomUncompressedSize: 5000,
    });
    assert.deepEqual(await database.statistics({ level: 'Patient', id: publicIdOf(A) }), {
      patients: 1,
      studies: 2,
      series: 3,
      instances: 4,
      diskSize: 4100,
      uncompressedSize: 4300,
      dicomDiskSize: 4000,
      dicomUncompressedSize: 4000,
    });
    assert.deepEqual(await database.statistics({ level: 'Series', id: series('1.1.1') }), {
      patients: 0,
      studies: 0,
      series: 1,
      instances: 2,
      diskSize: 2000,
      uncompressedSize: 2000,
      dicomDiskSize: 2000,
      dicomUncompressedSize: 2000,
    });
  });

  // --- deleting ------------------------------------------------------------------------------------------------

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

  // --- limits --------------------------------------------------------------------------------------------------

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

  // --- stability -----------------------------------------------------------------------------------------------

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

  // --- what users add --------------------------------------------------------------------------------------------

  check('metadata have revisions and log their changes', async (database) => {
    const id = study('1.1');
    const refused: Outcome = { kind: 'refused', error: 'Revision' };
    const set = (value: string | undefined, revision?: number, md5?: string): Operation => ({
      kind: 'metadata',
      level: 'Study',
      id,
      name: 'mine',
      value,
      ...(revision !== undefined && { expected: { revision, ...(md5 !== undefined && { md5 }) } }),
    });
    const committed = await database.commit([
      { ...set('a'), expected: 'nothing' } as Operation,
      set('b'),
      set('c', 1, '92eb5ffee6ae2fec3ad71c777531578f'),
      set('d', 1),
      // Of another value.
      set('d', 2, '92eb5ffee6ae2fec3ad71c777531578f'),
      { ...set('d'), expected: 'nothing' } as Operation,
      set(undefined, 0),
    ]);
    assert.deepEqual(committed.outcomes, [
      { kind: 'written', revision: 0 },
      { kind: 'written', revision: 1 },
      { kind: 'written', revision: 2 },
      refused,
      refused,
      refused,
      refused,
    ]);
    assert.deepEqual(log(committed), ['UpdatedMetadata Study', 'UpdatedMetadata Study', 'UpdatedMetadata Study']);
    assert.deepEqual((await one(database, { level: 'Study', id })).metadata['mine'], { value: 'c', revision: 2 });
    const removed = await database.commit([set(undefined, 2), set(undefined)]);
    assert.deepEqual(removed.outcomes, [{ kind: 'written', revision: 2 }, unknownResource]);
    assert.deepEqual(log(removed), ['UpdatedMetadata Study']);
    assert.equal((await one(database, { level: 'Study', id })).metadata['mine'], undefined);
    // A new one takes any revision, as the reference does.
    assert.deepEqual(await outcome(database, set('x', 7)), { kind: 'written', revision: 0 });
    const [nobody] = (await database.commit([{ kind: 'metadata', level: 'Series', id, name: 'mine', value: 'x' }]))
      .outcomes;
    assert.deepEqual(nobody, unknownResource);
  });

  check("the server's own metadata can be replaced and deleted, without a change", async (database) => {
    const id = instance('1.1.1.1');
    const set = (name: string, value: string | undefined): Operation => ({
      kind: 'metadata',
      level: 'Instance',
      id,
      name,
      value,
    });
    const committed = await database.commit([
      set('AnonymizedFrom', 'x'),
      set('RemoteAET', 'OTHER'),
      set('Origin', 'Lua'),
      set('Origin', undefined),
    ]);
    assert.deepEqual(committed.outcomes, [
      { kind: 'written', revision: 0 },
      { kind: 'written', revision: 1 },
      { kind: 'written', revision: 1 },
      { kind: 'written', revision: 1 },
    ]);
    assert.deepEqual(log(committed), []);
    const { metadata } = await one(database, { level: 'Instance', id });
    assert.deepEqual(metadata['RemoteAET'], { value: 'OTHER', revision: 1 });
    assert.deepEqual(metadata['AnonymizedFrom'], { value: 'x', revision: 0 });
    assert.equal(metadata['Origin'], undefined);
    const above = await one(database, { level: 'Instance', id, instance: true });
    assert.deepEqual(above.instance?.metadata, metadata);
  });

  check('attachments have revisions, log their changes and give up the old blob', async (database) => {
    const id = study('1.1');
    const [first, second] = [attachmentOf(1025, 10), attachmentOf(1025, 30)];
    const refused: Outcome = { kind: 'refused', error: 'Revision' };
    const set = (attachment: typeof first | undefined, expected?: Expected): Operation => ({
      kind: 'attachment',
      level: 'Study',
      id,
      contentType: 1025,
      attachment,
      ...(expected !== undefined && { expected }),
    });
    const md5 = first.uncompressedMD5;
    const written = await database.commit([
      set(first, 'nothing'),
      set(second, { revision: 1 }),
      set(second, { revision: 0, md5: '0'.repeat(32) }),
      set(second, 'nothing'),
      set(second, { revision: 0, md5 }),
    ]);
    assert.deepEqual(written.outcomes, [
      { kind: 'written', revision: 0 },
      refused,
      refused,
      refused,
      { kind: 'written', revision: 1 },
    ]);
    assert.deepEqual(log(written), ['UpdatedAttachment Study', 'UpdatedAttachment Study']);
    assert.deepEqual(written.removals, [first.uuid]);
    assert.deepEqual((await one(database, { level: 'Study', id })).attachments, [{ ...second, revision: 1 }]);
    assert.equal((await database.statistics())?.diskSize, 5030);
    const deleted = await database.commit([set(undefined, { revision: 1 }), set(undefined)]);
    assert.deepEqual(deleted.outcomes, [{ kind: 'written', revision: 1 }, unknownResource]);
    assert.deepEqual(deleted.removals, [second.uuid]);
    assert.equal((await database.statistics())?.diskSize, 5000);
  });

  check('the DICOM file can be replaced but not deleted', async (database) => {
    const id = instance('1.1.1.1');
    const plain = population[0].attachment;
    const compressed = {
      ...attachmentOf(1),
      uncompressedMD5: plain.uncompressedMD5,
      compressedSize: 400,
      compressedMD5: '0f'.repeat(16),
      compression: 'zlib' as const,
    };
    const replace: Operation = { kind: 'attachment', level: 'Instance', id, contentType: 1, attachment: compressed };
    const committed = await database.commit([replace]);
    assert.deepEqual(committed.outcomes, [{ kind: 'written', revision: 1 }]);
    assert.deepEqual([committed.removals, log(committed)], [[plain.uuid], []]);
    assert.deepEqual((await one(database, { level: 'Instance', id })).attachments, [{ ...compressed, revision: 1 }]);
    assert.equal((await database.statistics())?.dicomDiskSize, 4400);
    assert.equal((await database.statistics())?.dicomUncompressedSize, 5000);
    await assert.rejects(database.commit([{ ...replace, attachment: undefined }]), { code: 'ForbiddenAccess' });
  });

  check('labels are a set', async (database) => {
    const id = study('1.1');
    const set = (label: string, present: boolean): Operation => ({ kind: 'label', level: 'Study', id, label, present });
    const committed = await database.commit([set('b', true), set('a', true), set('a', true), set('zz', false)]);
    assert.ok(committed.outcomes.every((each) => each.kind === 'written'));
    assert.deepEqual((await one(database, { level: 'Study', id })).labels, ['a', 'b']);
    await database.commit([set('b', false)]);
    assert.deepEqual((await one(database, { level: 'Study', id })).labels, ['a']);
    assert.deepEqual(
      await outcome(database, { kind: 'label', level: 'Study', id: series('1.1.1'), label: 'a', present: true }),
      unknownResource,
    );
  });

  check('the labels in use are listed once each, sorted, and go with the last that has them', async (database) => {
    const set = (level: Level, id: string, label: string, present = true): Operation => ({
      kind: 'label',
      level,
      id,
      label,
      present,
    });
    assert.deepEqual(await database.labels(), []);
    await database.commit([
      set('Study', study('1.1'), 'b'),
      set('Study', study('1.2'), 'b'),
      set('Series', series('1.1.1'), 'c'),
      set('Patient', publicIdOf(A), 'a'),
      set('Instance', instance('1.1.1.1'), 'B'),
    ]);
    assert.deepEqual(await database.labels(), ['B', 'a', 'b', 'c']);
    await database.commit([set('Study', study('1.1'), 'b', false)]);
    assert.deepEqual(await database.labels(), ['B', 'a', 'b', 'c']);
    await database.commit([set('Study', study('1.2'), 'b', false)]);
    assert.deepEqual(await database.labels(), ['B', 'a', 'c']);
    await database.commit([{ kind: 'delete', level: 'Study', id: study('1.1') }]);
    assert.deepEqual(await database.labels(), ['a']);
  });

  check('the version is another one after a commit, and only then', async (database) => {
    const id = study('1.1');
    const populated = database.version();
    if (populated === undefined) return;
    await one(database, { level: 'Study', id });
    assert.equal(database.version(), populated);
    await database.commit([{ kind: 'label', level: 'Study', id, label: 'a', present: true }]);
    const labelled = database.version();
    assert.notEqual(labelled, populated);
    assert.equal(database.version(), labelled);
    await database.commit([{ kind: 'clear-changes' }]);
    assert.notEqual(database.version(), labelled);
  });

  check('properties', async (database, reopen) => {
    const set = (value: string | undefined): Operation => ({
      kind: 'property',
      name: 'DatabaseServerIdentifier',
      value,
    });
    assert.equal(await database.property('DatabaseServerIdentifier'), undefined);
    await database.commit([set('one')]);
    await database.commit([set('two')]);
    const again = await reopen();
    assert.equal(await again.property('DatabaseServerIdentifier'), 'two');
    await again.commit([set(undefined)]);
    assert.equal(await again.property('DatabaseServerIdentifier'), undefined);
  });

  // --- the log ---------------------------------------------------------------------------------------------------

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

  // --- durable work ----------------------------------------------------------------------------------------------

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

  // --- exports ---------------------------------------------------------------------------------------------------

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

  // --- the transaction -------------------------------------------------------------------------------------------

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

/** `Omit` over each member of a union. */
type Match = Constraint extends infer Each
  ? Each extends Constraint
    ? Omit<Each, 'tag' | 'caseSensitive'>
    : never
  : never;

function c(tag: string, match: Match, caseSensitive = false): Constraint {
  return { tag, caseSensitive, ...match };
}
