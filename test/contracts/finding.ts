/** Owns the part of the `database` contract that is about finding, and what a found resource shows. */

import assert from 'node:assert/strict';
import { type Constraint, type FindRequest, MOST_IDS } from '../../src/database/database.ts';
import type { Level } from '../../src/dicom/levels.ts';
import { attachmentOf, publicIdOf, storing, summaryOf } from './instances.ts';
import {
  type Check,
  A,
  ids,
  instance,
  one,
  outcome,
  population,
  series,
  study,
  unknownResource,
} from './population.ts';

/** Checks of the contract that are made with `check`. */
export function findingContract(check: Check): void {
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
          { kind: 'stabilize', now: Date.now() + 120_000, limit: 100 },
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
