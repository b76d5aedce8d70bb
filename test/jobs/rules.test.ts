import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsenError } from '../../src/errors.ts';
import { type Facts, readRule, reasonsAgainst } from '../../src/jobs/rules.ts';

const METADATA: Readonly<Record<string, string>> = {
  RemoteAET: 'CT01',
  CalledAET: 'ISEN',
  RemoteIP: '10.1.2.3',
  HttpUsername: '',
  SopClassUid: '1.2.840.10008.5.1.4.1.1.2',
};
const TAGS: Readonly<Record<string, string>> = {
  '0008,0060': 'CT',
  '0008,0020': '20260615',
  '0010,0010': 'MÜLLER^Änne',
  '0008,0008': 'ORIGINAL\\PRIMARY\\AXIAL',
  '0018,0050': '1.25',
  '0008,0050': 'A-17',
  '0010,1010': '006M',
  '0008,0030': '134501.250',
  '0008,002a': '20260615134501+0200',
};

const FACTS: Facts = {
  event: 'NewInstance',
  level: 'Instance',
  metadata: (name) => METADATA[name],
  labels: new Set(['urgent', 'trial-7']),
  tag: (tag) => TAGS[tag],
};

/** The reasons against a rule with this condition. */
const against = (when: object, facts = FACTS): Promise<readonly string[]> =>
  reasonsAgainst(readRule('r', { When: when, To: 'pacs' }), facts, true);

const YES: readonly object[] = [
  {},
  { Event: 'NewInstance' },
  { Event: ['StableStudy', 'New*'] },
  { Level: 'Instance' },
  { CallingAet: 'ct01' },
  { CallingAet: ['MR*', 'CT*'] },
  { CalledAet: 'ISEN', CallingAet: 'CT01' },
  { RemoteIp: '10.1.2.3' },
  { RemoteIp: ['192.168.0.0/16', '10.1.0.0/16'] },
  { Labels: 'urgent' },
  { Labels: ['none', 'trial-*'] },
  { Tags: { Modality: 'CT' } },
  { Tags: { '0008,0060': 'CT', StudyDate: '20260101-20261231' } },
  { Tags: { Modality: ['MR', 'CT'] } },
  { Tags: { Modality: 'MR\\CT' } },
  { Tags: { Modality: 'C?' } },
  { Tags: { StudyDate: '20260615' } },
  { Tags: { StudyDate: '20260615-' } },
  { Tags: { StudyDate: '-2026' } },
  { Tags: { PatientName: 'muller*' } },
  { Tags: { ImageType: 'axial' } },
  { Tags: { SliceThickness: '1-2' } },
  { Tags: { SliceThickness: '1-' } },
  { Tags: { SliceThickness: '1.250' } },
  { Tags: { AccessionNumber: 'A-17' } },
  { Tags: { StudyDate: '2026*' } },
  { Tags: { StudyDate: '202606' } },
  { Tags: { StudyDate: ['', '20260615'] } },
  { Tags: { PatientAge: '-018Y' } },
  { Tags: { PatientAge: '010D-001Y' } },
  { Tags: { PatientAge: '006M' } },
  { Tags: { StudyTime: '0800-1345' } },
  { Tags: { StudyTime: '13' } },
  { Tags: { AcquisitionDateTime: '20260615-20260616' } },
  { Tags: { SOPClassUID: '1.2.840.10008.5.1.4.1.1.2' } },
  { Tags: { BodyPartExamined: '' } },
];

const NO: readonly object[] = [
  { Event: 'StableSeries' },
  { Level: 'Series' },
  { CallingAet: 'CT' },
  { CallingAet: 'CT01', CalledAet: 'OTHER' },
  { RemoteIp: '10.2.0.0/16' },
  { RemoteIp: '::1' },
  { HttpUser: 'alice' },
  { Labels: 'trial' },
  { Tags: { Modality: 'MR' } },
  { Tags: { StudyDate: '20260616-' } },
  { Tags: { StudyDate: '-20260614' } },
  { Tags: { SliceThickness: '2-3' } },
  { Tags: { PatientAge: '018Y-065Y' } },
  { Tags: { StudyTime: '1400-' } },
  { Tags: { Modality: 'CT', BodyPartExamined: '?*' } },
];

test('rules that apply', async () => {
  for (const when of YES) assert.deepEqual(await against(when), [], JSON.stringify(when));
});

test('rules that do not, with one reason for each condition', async () => {
  for (const when of NO) assert.equal((await against(when)).length, 1, JSON.stringify(when));
  assert.deepEqual(await against({ CallingAet: 'MR', Tags: { Modality: 'MR' } }), [
    'CallingAet is "CT01", not "MR"',
    'Modality is "CT", not "MR"',
  ]);
});

test('a file is read for a tag only when nothing else speaks against the rule', async () => {
  let reads = 0;
  const facts: Facts = {
    ...FACTS,
    tag: (tag) =>
      tag === '0018,0060'
        ? async () => {
            reads += 1;
            return '120';
          }
        : TAGS[tag],
  };
  const rule = (modality: string) =>
    readRule('r', { When: { Tags: { KVP: '100-140', Modality: modality } }, To: 'pacs' });
  assert.equal((await reasonsAgainst(rule('MR'), facts)).length, 1);
  assert.equal(reads, 0);
  assert.deepEqual(await reasonsAgainst(rule('CT'), facts), []);
  assert.equal(reads, 1);
});

test('a rule that is none is refused, and says why', () => {
  const wrong: readonly [object, RegExp][] = [
    [{}, /To/],
    [{ To: [] }, /To/],
    [{ To: 'pacs', Foo: 1 }, /Foo/],
    [{ To: 'pacs', When: { Evnt: 'NewInstance' } }, /Evnt/],
    [{ To: 'pacs', When: { Event: 'Deleted' } }, /Deleted/],
    [{ To: 'pacs', When: { Level: 'Image' } }, /Image/],
    [{ To: 'pacs', When: { RemoteIp: '10.0.0.0/40' } }, /RemoteIp/],
    [{ To: 'pacs', When: { Tags: { Nonsense: 'x' } } }, /Nonsense/],
    ...[
      ...['2026-01-01', '20261301', '20260231', '20261231-20260101', 'yesterday', '20260101-x', '-', '202-'].map(
        (value) => ({ StudyDate: value }),
      ),
      ...['2500', '1261', '10-09', 'noon'].map((value) => ({ StudyTime: value })),
      ...['20260231', '2026061525'].map((value) => ({ AcquisitionDateTime: value })),
      ...['18', '18Y', '065Y-018Y', 'old'].map((value) => ({ PatientAge: value })),
      ...['thin', '3-1', '1-2-3'].map((value) => ({ SliceThickness: value })),
    ].map((Tags): [object, RegExp] => [{ To: 'pacs', When: { Tags } }, /Tags: \w+: /]),
    [{ To: 'pacs', Transcode: '1.2.3' }, /Transcode/],
    [{ To: 'pacs', Modify: {}, Anonymize: {} }, /one of them/],
    [{ To: 'pacs', Modify: { Repalce: { PatientName: 'X' } } }, /Repalce/],
    [{ To: 'pacs', Modify: { Replace: { Nonsense: 'X' } } }, /Modify: .*Nonsense/],
    [{ To: 'pacs', Modify: { Replace: { StudyInstanceUID: '1.2' } } }, /Modify: .*Force/],
    [{ To: 'pacs', Modify: { Replace: { SOPInstanceUID: '1.2' }, Force: true } }, /SOPInstanceUID cannot be chosen/],
    [{ To: 'pacs', Modify: { Level: 'Patient' } }, /Modify: .*PatientID/],
    [{ To: 'pacs', Modify: { Replace: { PatientComments: 'x'.repeat(70_000) } } }, /too long/],
    [{ To: 'pacs', Anonymize: { DicomVersion: '1999' } }, /Anonymize: .*1999/],
    [{ To: 'pacs', Name: 'other' }, /other/],
  ];
  for (const [rule, reason] of wrong) {
    assert.throws(
      () => readRule('r', rule),
      (thrown) => thrown instanceof IsenError && thrown.code === 'ParameterOutOfRange' && reason.test(thrown.message),
      JSON.stringify(rule),
    );
  }
});
