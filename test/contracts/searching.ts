/** Owns the part of the `database` contract that is about searches by labels, metadata and what is below, order, and counting. */

import assert from 'node:assert/strict';
import type { Constraint, Database, FindRequest, Operation, Order } from '../../src/database/database.ts';
import type { Level } from '../../src/dicom/levels.ts';
import { publicIdOf, storing } from './instances.ts';

type Check = (
  name: string,
  body: (database: Database) => Promise<void>,
  limits: Readonly<Record<string, never>>,
  operations: readonly Operation[],
) => void;

/** Study `s1` … of one patient each, one commit each: tags of the study, modalities of its series. */
const STUDIES: readonly (readonly [name: string, patientName: string, date: string | undefined, modalities: string])[] =
  [
    ['s1', 'Müller^Anna', '20200101', 'MR CT'],
    ['s2', 'MULLER^BERTA', '20210630', 'CT'],
    ['s3', 'müller^carl', undefined, 'US'],
    ['s4', 'Adams', '20210630', 'MR'],
    ['s5', 'adams', '', 'CR'],
  ];
const population = STUDIES.flatMap(([name, patientName, date, modalities], at) =>
  modalities.split(' ').map((modality) =>
    storing({
      patient: `P${at}`,
      study: name,
      series: `${name}.${modality}`,
      instance: `${name}.${modality}.1`,
      patientTags: { '0010,0010': patientName, '0010,0040': 'FM'[at % 2] ?? '' },
      studyTags: {
        ...(date !== undefined && { '0008,0020': date }),
        '0020,0010': String(11 - at * 2),
        '0008,0050': 'x ',
      },
      seriesTags: { '0008,0060': modality },
      instanceTags: { '0020,0013': String(at) },
    }),
  ),
);
const idOf = (name: string): string => publicIdOf(`P${Number(name.slice(1)) - 1}`, name);

const text = (tag: string, descending = false): Order => ({ tag, as: 'text', descending });

/** Checks of the contract that are made with `check`. */
export function searchingContract(check: Check): void {
  const with_ = (name: string, body: (database: Database) => Promise<void>): void => {
    const filled = async (database: Database): Promise<void> => {
      // Of one commit, a backend may take the studies in any order.
      for (const operation of population) await database.commit([operation]);
      await body(database);
    };
    check(name, filled, {}, []);
  };
  /** Names of the studies that are found, and that as many are counted. */
  const found = async (database: Database, request: Partial<FindRequest>): Promise<string> => {
    const all = await database.find({ level: 'Study', ...request });
    const { since: _, limit: __, orderBy: ___, ...counted } = request;
    if (request.since === undefined && request.limit === undefined)
      assert.equal(await database.count({ level: 'Study', ...counted }), all.length);
    const ids = await database.find({ level: 'Study', ...request, idsOnly: true });
    assert.deepEqual(
      ids.map(({ id }) => id),
      all.map(({ id }) => id),
    );
    const names = all.map(({ tags }) => tags['0020,000d'] ?? '');
    return (request.orderBy === undefined ? names.sort() : names).join(' ');
  };
  const where = (tag: string, match: object, more: Partial<Constraint> = {}): Partial<FindRequest> => ({
    where: [{ tag, caseSensitive: false, ...match, ...more } as Constraint],
  });

  with_('accents count where they are to', async (database) => {
    const names: readonly [object, string][] = [
      [{ match: 'wildcard', value: 'muller*' }, 's2'],
      [{ match: 'wildcard', value: 'MÜLLER*' }, 's1 s3'],
      [{ match: 'equal', value: 'müller^ANNA' }, 's1'],
      [{ match: 'list', values: ['MÜLLER^ANNA', 'müller^berta', 'ADAMS'] }, 's1 s4 s5'],
      [{ match: 'range', from: 'B' }, 's1 s2 s3'],
    ];
    for (const [match, expected] of names) {
      assert.equal(await found(database, where('0010,0010', match, { accents: true })), expected);
    }
    const accession = { match: 'equal', value: 'X' };
    assert.equal(await found(database, where('0008,0050', accession)), 's1 s2 s3 s4 s5');
    assert.equal(await found(database, where('0008,0050', accession, { accents: true })), '', 'padding counts then');
  });

  with_('a study is found by what some series or instance of it has', async (database) => {
    assert.equal(await found(database, where('0008,0060', { match: 'equal', value: 'mr' })), 's1 s4');
    assert.equal(
      await found(database, where('0008,0060', { match: 'equal', value: 'mr' }, { caseSensitive: true })),
      '',
    );
    assert.equal(await found(database, where('0008,0060', { match: 'wildcard', value: 'C?' })), 's1 s2 s5');
    assert.equal(await found(database, where('0020,0013', { match: 'list', values: ['0', '3'] })), 's1 s4');
    const of = { level: 'Patient' as const, id: publicIdOf('P0') };
    assert.equal(await found(database, { of, ...where('0008,0060', { match: 'equal', value: 'CT' }) }), 's1');
  });

  with_('labels: all, any, none', async (database) => {
    const set = (name: string, label: string, level: Level = 'Study', id = idOf(name)): Operation => ({
      kind: 'label',
      level,
      id,
      label,
      present: true,
    });
    await database.commit([
      set('s1', 'a'),
      set('s1', 'b'),
      set('s2', 'a'),
      set('s4', 'b'),
      set('', 'a', 'Patient', publicIdOf('P4')),
    ]);
    const labelled = (match: 'all' | 'any' | 'none', ...labels: string[]) =>
      found(database, { labels: { match, labels } });
    assert.equal(await labelled('all', 'a'), 's1 s2');
    assert.equal(await labelled('all', 'a', 'b', 'a'), 's1');
    assert.equal(await labelled('any', 'a', 'b', 'zzz'), 's1 s2 s4');
    assert.equal(await labelled('none', 'a', 'b'), 's3 s5');
    assert.equal(await labelled('none', 'zzz'), 's1 s2 s3 s4 s5');
    for (const match of ['all', 'any', 'none'] as const) assert.equal(await labelled(match), 's1 s2 s3 s4 s5');
    assert.equal(await labelled('all', "' OR 1=1 --"), '');
    const request = { labels: { match: 'any', labels: ['a', 'b'] }, orderBy: [text('0008,0020', true)] } as const;
    assert.equal(await found(database, request), 's4 s2 s1');
    assert.equal(await found(database, { ...request, since: 1, limit: 1 }), 's2');
  });

  with_('metadata: what was set, what the row has, and what all have', async (database) => {
    const set = (name: string, key: string, value: string): Operation => ({
      kind: 'metadata',
      level: 'Study',
      id: idOf(name),
      name: key,
      value,
    });
    await database.commit([set('s1', '1024', 'Red one'), set('s2', '1024', 'red two'), set('s4', '1025', 'red')]);
    const meta = (name: string, match: object, caseSensitive = false) =>
      found(database, { metadata: [{ name, caseSensitive, ...match } as never] });
    assert.equal(await meta('1024', { match: 'wildcard', value: 'RED*' }), 's1 s2');
    assert.equal(await meta('1024', { match: 'wildcard', value: 'red*' }, true), 's2');
    assert.equal(await meta('1024', { match: 'list', values: ['red two', 'x'] }), 's2');
    assert.equal(await meta('MainDicomTagsSignature', { match: 'wildcard', value: '0008,0020;*' }), 's1 s2 s3 s4 s5');
    assert.equal(await meta('LastUpdate', { match: 'range', from: '20200101' }), 's1 s2 s3 s4 s5');
    assert.equal(await meta('LastUpdate', { match: 'wildcard', value: '2???????T*' }), 's1 s2 s3 s4 s5');
    assert.equal(await meta(`a' OR '1`, { match: 'wildcard', value: '*' }), '');
    const instances = await database.find({
      level: 'Instance',
      metadata: [{ name: 'SopClassUid', caseSensitive: true, match: 'wildcard', value: '1.2.840.*' }],
    });
    assert.equal(instances.length, population.length);
    const orderBy: Order[] = [{ metadata: '1024', as: 'text', descending: true }];
    assert.equal(await found(database, { orderBy }), 's2 s1 s5 s4 s3');
  });

  with_('the order asked for, with what is absent first and what is equal as it came', async (database) => {
    assert.equal(await found(database, { orderBy: [text('0008,0020')] }), 's3 s5 s1 s2 s4');
    assert.equal(await found(database, { orderBy: [text('0008,0020', true)] }), 's4 s2 s1 s5 s3');
    assert.equal(await found(database, { orderBy: [text('0008,0020', true)], limit: 2 }), 's4 s2');
    assert.equal(await found(database, { orderBy: [text('0008,0020')], since: 1, limit: 3 }), 's5 s1 s2');
    assert.equal(await found(database, { orderBy: [text('0008,0020')], since: 9, limit: 3 }), '');
    assert.equal(await found(database, { orderBy: [text('0008,0020', true), text('0010,0010')] }), 's4 s2 s1 s5 s3');
    const both = [text('0010,0010'), text('0020,000d', true)];
    assert.equal(await found(database, { orderBy: both }), 's5 s4 s1 s2 s3');
    assert.equal(await found(database, { orderBy: both, since: 1, limit: 1 }), 's4');
    assert.equal(await found(database, { orderBy: [text('0010,0040'), text('0008,0020')], limit: 4 }), 's3 s5 s1 s2');
    assert.equal(await found(database, { orderBy: [text('0020,0010')] }), 's1 s5 s4 s3 s2', 'as text');
    const number: Order = { tag: '0020,0010', as: 'integer', descending: false };
    assert.equal(await found(database, { orderBy: [number] }), 's5 s4 s3 s2 s1');
    assert.equal(await found(database, { orderBy: [{ ...number, as: 'float', descending: true }] }), 's1 s2 s3 s4 s5');
    const updated = { metadata: 'LastUpdate', as: 'text', descending: false } as const;
    assert.equal(await found(database, { orderBy: [updated], limit: 10 }), 's1 s2 s3 s4 s5');
    const instances = await database.find({ level: 'Instance', orderBy: [text('0010,0020', true), text('0008,0060')] });
    assert.deepEqual(
      instances.map(({ tags }) => tags['0008,0018']),
      ['s5.CR.1', 's4.MR.1', 's3.US.1', 's2.CT.1', 's1.CT.1', 's1.MR.1'],
    );
    for (const tag of ['0018,1152', '0008,0060'])
      await assert.rejects(database.find({ level: 'Study', orderBy: [text(tag)] }), { code: 'ParameterOutOfRange' });
  });

  const many = Array.from({ length: 6500 }, (_, index) => {
    const name = String((index * 7919) % 6500).padStart(4, '0');
    return storing({
      patient: `L${index % 3}`,
      study: `l.${index}`,
      series: `l.${index}.1`,
      instance: `l.${index}.1.1`,
      patientTags: { '0010,0010': index % 5 === 0 ? `É${name}` : `E${name}` },
      studyTags: { ...(index % 10 !== 9 && { '0008,0020': `2020${String(10 + (index % 3))}01` }), '0020,0010': name },
    });
  });
  check(
    'pages in order are whole and meet, whatever finds them',
    async (database) => {
      const ways: readonly (readonly [readonly Order[], Partial<FindRequest>])[] = [
        [[text('0008,0020', true)], {}],
        [[text('0008,0020')], {}],
        [[text('0008,0020', true), text('0010,0010')], {}],
        [[text('0010,0010')], where('0010,0010', { match: 'wildcard', value: 'e*' }, { accents: true })],
        [[text('0010,0010', true)], where('0010,0010', { match: 'wildcard', value: 'E1*' })],
        [[text('0008,0020')], where('0008,0020', { match: 'range', from: '20201101' })],
        [[text('0020,0010')], where('0010,0020', { match: 'list', values: ['L0', 'L1'] })],
        [[{ metadata: 'LastUpdate', as: 'text', descending: true }], {}],
      ];
      for (const [orderBy, request] of ways) {
        const search = { level: 'Study', orderBy, ...request, idsOnly: true } as const;
        const all = (await database.find(search)).map(({ id }) => id);
        assert.equal(new Set(all).size, all.length);
        assert.equal(all.length, await database.count({ level: 'Study', ...request }));
        assert.ok(all.length > 500);
        for (const since of [0, 1, 300, 2170, all.length - 5]) {
          const page = await database.find({ ...search, since, limit: 300 });
          assert.deepEqual(
            page.map(({ id }) => id),
            all.slice(since, since + 300),
          );
        }
      }
    },
    {},
    many,
  );
}
