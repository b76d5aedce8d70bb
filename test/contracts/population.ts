/** Owns what the parts of the `database` contract share: the two patients of most checks, and how they ask. */

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type {
  Committed,
  Database,
  DatabaseLimits,
  FindRequest,
  Operation,
  Outcome,
} from '../../src/database/database.ts';
import { publicIdOf, storing } from './instances.ts';

/** Makes one check of the contract, on an index of its own that holds `operations` (the {@link population} by default). */
export type Check = (
  name: string,
  body: (database: Database, reopen: () => Promise<Database>, context: TestContext) => Promise<void>,
  limits?: Partial<DatabaseLimits>,
  operations?: readonly Operation[],
) => void;

export const stored: Outcome = { kind: 'stored', status: 'Success' };
export const alreadyStored: Outcome = { kind: 'stored', status: 'AlreadyStored' };
export const unknownResource: Outcome = { kind: 'refused', error: 'UnknownResource' };

/** Types and levels of the changes of a commit, in order. */
export function log(committed: Committed): string[] {
  return committed.changes.map(({ type, level }) => (type.endsWith(level) ? type : `${type} ${level}`));
}

/** The two patients of most tests: A with two studies (series of 2 + 1, and 1 instances), B with one instance. */
export const A = 'A';
export const population = [
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

export const study = (uid: string): string => publicIdOf(A, uid);
export const series = (uid: string): string => publicIdOf(A, uid.slice(0, 3), uid);
export const instance = (uid: string): string => publicIdOf(A, uid.slice(0, 3), uid.slice(0, 5), uid);

export const ids = async (database: Database, request: FindRequest): Promise<string[]> =>
  (await database.find({ ...request, idsOnly: true })).map((found) => found.id);
export const one = async (database: Database, request: FindRequest) => {
  const [found, ...others] = await database.find(request);
  assert.ok(found);
  assert.equal(others.length, 0);
  return found;
};
export const outcome = async (database: Database, operation: Operation): Promise<Outcome> => {
  const { outcomes } = await database.commit([operation]);
  assert.equal(outcomes.length, 1);
  return outcomes[0] as Outcome;
};
