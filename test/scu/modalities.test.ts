import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsenError } from '../../src/errors.ts';
import { describeModality, readModality, SENDING, untilOpen } from '../../src/scu/modalities.ts';

const refused = (description: unknown, name = 'm'): string => {
  try {
    readModality(name, description);
  } catch (thrown) {
    assert.ok(thrown instanceof IsenError);
    return `${thrown.code}: ${thrown.details ?? ''}`;
  }
  return 'accepted';
};

/** As the reference describes it; its version 1.13 adds RetrieveMethod. */
const DESCRIBED = {
  AET: 'AET',
  AllowEcho: true,
  AllowEventReport: true,
  AllowFind: true,
  AllowFindWorklist: true,
  AllowGet: true,
  AllowMove: true,
  AllowNAction: true,
  AllowStore: true,
  AllowTranscoding: true,
  Host: '127.0.0.1',
  LocalAet: '',
  Manufacturer: 'Generic',
  Port: 104,
  RetrieveMethod: 'SystemDefault',
  Timeout: 0,
  UseDicomTls: false,
};

test('the array and the object form say the same', () => {
  for (const description of [
    ['AET', '127.0.0.1', 104],
    ['AET', '127.0.0.1', '104'],
    ['AET', '127.0.0.1', 104, 'Generic'],
    ['AET', '127.0.0.1', 104, 'ClearCanvas'],
    { AET: 'AET', Host: '127.0.0.1', Port: 104 },
    { AET: 'AET', Host: '127.0.0.1', Port: '104', Unknown: 1 },
    DESCRIBED,
  ]) {
    assert.deepEqual(describeModality(readModality('m', description)), DESCRIBED, JSON.stringify(description));
  }
});

test('every field is read, and read back', () => {
  const description = {
    ...DESCRIBED,
    ...Object.fromEntries(Object.keys(DESCRIBED).flatMap((key) => (key.startsWith('Allow') ? [[key, false]] : []))),
    LocalAet: 'ME',
    Manufacturer: 'Vitrea',
    MaximumAssociations: 4,
    MaximumRetries: 7,
    MaximumRetryDelay: 60,
    RateLimit: 12.5,
    RetrieveMethod: 'C-GET',
    RetryDelay: 0.5,
    RetryDelayMultiplier: 3,
    RetryOnWarning: true,
    Schedule: ['22:00-06:00', '12:00-13:30'],
    Timeout: 30,
    UseDicomTls: true,
  };
  const modality = readModality('m', description);
  assert.deepEqual(describeModality(modality), description);
  assert.deepEqual(readModality('m', describeModality(modality)), modality);
  assert.deepEqual(readModality('m', { ...description, Schedule: '22:00-06:00' }).sending.schedule, ['22:00-06:00']);
});

test('AllowStorageCommitment stands for both halves, unless one is named', () => {
  const of = (more: object) => readModality('m', { AET: 'A', Host: 'h', Port: 1, ...more });
  assert.equal(of({ AllowStorageCommitment: false }).allowNAction, false);
  assert.equal(of({ AllowStorageCommitment: false }).allowNEventReport, false);
  assert.equal(of({ AllowStorageCommitment: false, AllowNAction: true }).allowNAction, true);
});

test('what is none is refused as the reference does', () => {
  assert.equal(refused(5), 'BadFileFormat: ');
  assert.equal(refused(null), 'BadFileFormat: ');
  assert.equal(refused(['AET']), 'BadFileFormat: ');
  assert.equal(refused([5, 'host', 104]), 'BadFileFormat: ');
  assert.equal(refused(['AET', 'host', 104, 'Generic', 5]), 'BadFileFormat: ');
  assert.equal(refused({}), 'BadFileFormat: String value expected in field: AET');
  assert.equal(refused({ AET: 'x' }), 'BadFileFormat: String value expected in field: Host');
  assert.equal(
    refused({ AET: 'x', Host: 'h', Port: 104, AllowEcho: 'yes' }),
    'BadFileFormat: Boolean value expected in field: AllowEcho',
  );
  for (const port of [0, 70_000]) {
    const details = `A TCP port number must be in range [1..65534], but found: ${port}`;
    assert.equal(refused(['AET', 'host', port]), `ParameterOutOfRange: ${details}`);
  }
  assert.equal(refused(['AET', 'host', 104, 'Vendor']), 'ParameterOutOfRange: Unknown modality manufacturer: "Vendor"');
  assert.match(refused(['AET', 'host', 104], 'b c'), /^BadFileFormat: Only alphanumeric.*found: b c$/);
  for (const [option, value] of Object.entries({
    MaximumAssociations: 0,
    MaximumRetries: -1,
    RateLimit: 'fast',
    RetryDelayMultiplier: 0.5,
    Schedule: '25:00-26:00',
  })) {
    assert.match(
      refused({ AET: 'x', Host: 'h', Port: 104, [option]: value }),
      new RegExp(`^ParameterOutOfRange: ${option}`),
    );
  }
});

test('a receiver that is away for a night is waited for', () => {
  let [total, delay] = [0, SENDING.retryDelay];
  for (let count = 0; count < SENDING.maximumRetries; count++) {
    total += delay;
    delay = Math.min(SENDING.maximumRetryDelay, delay * SENDING.retryDelayMultiplier);
  }
  assert.ok(total > 20 * 3600 && total < 30 * 3600, `${total / 3600} hours`);
});

test('a schedule lets through in its hours only, over midnight too', () => {
  const at = (hours: number, minutes: number): Date => new Date(2026, 10, 24, hours, minutes);
  const hour = 3_600_000;
  assert.equal(untilOpen([], at(3, 0)), 0);
  assert.equal(untilOpen(['22:00-06:00'], at(23, 59)), 0);
  assert.equal(untilOpen(['22:00-06:00'], at(5, 59)), 0);
  assert.equal(untilOpen(['22:00-06:00'], at(6, 0)), 16 * hour);
  assert.equal(untilOpen(['08:00-12:00'], at(12, 0)), 20 * hour);
  assert.equal(untilOpen(['08:00-12:00', '13:00-24:00'], at(12, 30)), hour / 2);
  assert.equal(untilOpen(['13:00-24:00'], at(23, 59)), 0);
  assert.equal(untilOpen(['00:00-00:00'], at(12, 0)), 0, 'a span that ends where it begins is the whole day');
});
