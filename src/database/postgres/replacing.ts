/** Owns storing where more is to be thought of: instances that are replaced, and limits of what may be stored. */

import { IsenError } from '../../errors.ts';
import type { Attachment, DatabaseLimits, Outcome } from '../database.ts';
import { TABLE } from '../rows.ts';
import { isSeriesComplete } from './completion.ts';
import { deleteAdditions, fits, makeRoom } from './removal.ts';
import { insertInstances, PARENT_LEVELS, type ParentLevel, touch } from './storing.ts';
import { type FileRow, fileColumns, type Transaction } from './transaction.ts';
import { columnNames, columnsOf, FILE_VALUES, fileValues, type ReadStore, hexOf } from './values.ts';

export const SUCCESS: Outcome = { kind: 'stored', status: 'Success' };
export const ALREADY_STORED: Outcome = { kind: 'stored', status: 'AlreadyStored' };

interface Known {
  /** Stored instances by public id: row id (undefined: of this batch, not written yet), size and MD5 of the file. */
  readonly instances: Map<string, { readonly id: number | undefined; readonly size: number; readonly md5: string }>;
  /** Row ids of stored patients by public id; undefined: not written yet. */
  readonly patients: Map<string, number | undefined>;
}

async function look(tx: Transaction, operations: readonly ReadStore[]): Promise<Known> {
  const known = (table: string, columns: string) =>
    `SELECT id, encode(public_id, 'hex') AS hex${columns} FROM ${table}
     WHERE public_id = ANY (ARRAY(SELECT decode(unnest($1::text[]), 'hex')))`;
  const [instances, patients] = await Promise.all([
    tx.rows<{ id: number; hex: string; size: number; md5: string }>(
      known('instances', `, size, coalesce(encode(md5, 'hex'), '') AS md5`),
      operations.map(({ summary }) => hexOf(summary.ids.Instance)),
    ),
    tx.rows<{ id: number; hex: string }>(known('patients', ''), [
      ...new Set(operations.map(({ summary }) => hexOf(summary.ids.Patient))),
    ]),
  ]);
  return {
    instances: new Map(instances.map(({ hex, ...row }) => [hex, row])),
    patients: new Map(patients.map(({ hex, id }) => [hex, id])),
  };
}

const fileOf = ({ uncompressedSize, uncompressedMD5 }: Attachment) => ({
  size: uncompressedSize,
  md5: uncompressedMD5,
});

/** Stores `operations` one after the other as far as their order matters; in an exclusive transaction. */
export async function storeCarefully(
  tx: Transaction,
  limits: DatabaseLimits,
  operations: readonly ReadStore[],
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let known = await look(tx, operations);
  /** New ones that can be written at once. */
  let pending: ReadStore[] = [];
  let size = 0;
  let patients = 0;
  const flush = async (at: number): Promise<void> => {
    if (pending.length === 0) return;
    await insertInstances(tx, limits.stableAge, pending);
    [pending, size, patients] = [[], 0, 0];
    known = await look(tx, operations.slice(at));
  };
  for (const [at, operation] of operations.entries()) {
    const instance = hexOf(operation.summary.ids.Instance);
    const patient = hexOf(operation.summary.ids.Patient);
    const there = known.instances.get(instance);
    if (there !== undefined) {
      const { size, md5 } = fileOf(operation.attachment);
      if (
        operation.overwrite === 'Never' ||
        (operation.overwrite === 'IfChanged' && there.size === size && there.md5 === md5)
      ) {
        outcomes.push(ALREADY_STORED);
        continue;
      }
      await flush(at);
      const id = known.instances.get(instance)?.id;
      if (id === undefined) throw new IsenError('Database', 'an instance that was stored is not there');
      await replaceInstance(tx, limits, operation, id);
      known.instances.set(instance, { id, ...fileOf(operation.attachment) });
      outcomes.push(SUCCESS);
      continue;
    }
    const bytes = operation.attachment.compressedSize;
    let newPatients = known.patients.has(patient) ? 0 : 1;
    if (!fits(tx, limits, size + bytes, patients + newPatients)) {
      await flush(at);
      newPatients = known.patients.has(patient) ? 0 : 1;
      if (!fits(tx, limits, bytes, newPatients)) {
        if (!(await makeRoom(tx, limits, bytes, newPatients, known.patients.get(patient)))) {
          outcomes.push({ kind: 'refused', error: 'FullStorage' });
          continue;
        }
        known = await look(tx, operations.slice(at));
      }
    }
    pending.push(operation);
    size += bytes;
    patients += newPatients;
    known.instances.set(instance, { id: undefined, ...fileOf(operation.attachment) });
    if (newPatients === 1) known.patients.set(patient, undefined);
    outcomes.push(SUCCESS);
  }
  if (pending.length > 0) await insertInstances(tx, limits.stableAge, pending);
  return outcomes;
}

const assignments = (columns: readonly { name: string; type: string }[], from: number): string =>
  columns
    .map(({ name, type }, index) => {
      const value = `$${index + from}`;
      return `${name} = ${type === 'bytea' ? `decode(${value}, 'hex')` : value}`;
    })
    .join();

const REPLACE = `UPDATE instances SET ${assignments([...FILE_VALUES, ...columnNames('Instance')], 2)}, revision = 0 WHERE id = $1`;

const REPLACE_PARENT: Readonly<Record<ParentLevel, string>> = {
  Patient: `UPDATE patients SET ${assignments(columnNames('Patient'), 2)} WHERE public_id = decode($1, 'hex')`,
  Study: `UPDATE studies SET ${assignments(columnNames('Study'), 2)} WHERE public_id = decode($1, 'hex')`,
  Series: `UPDATE series SET ${assignments(columnNames('Series'), 2)} WHERE public_id = decode($1, 'hex')`,
};

/** Whether each ancestor of an instance has no other child; and what its series expects. */
const CHAIN = `SELECT s.metadata ->> 'ExpectedNumberOfInstances' AS expected,
    NOT EXISTS (SELECT 1 FROM ${TABLE.Instance} o WHERE o.parent = s.id AND o.id <> i.id) AS "Series",
    NOT EXISTS (SELECT 1 FROM ${TABLE.Series} o WHERE o.parent = t.id AND o.id <> s.id) AS "Study",
    NOT EXISTS (SELECT 1 FROM ${TABLE.Study} o WHERE o.parent = t.parent AND o.id <> t.id) AS "Patient"
  FROM instances i JOIN series s ON s.id = i.parent JOIN studies t ON t.id = s.parent WHERE i.id = $1`;

/** Replaces the instance of row `id`. Ancestors that hold nothing else take the new file's tags too. */
async function replaceInstance(
  tx: Transaction,
  limits: DatabaseLimits,
  operation: ReadStore,
  id: number,
): Promise<void> {
  const { attachment, summary } = operation;
  const [file, chain] = await Promise.all([
    tx.row<FileRow>(`SELECT ${fileColumns('i')} FROM instances i WHERE i.id = $1`, id),
    tx.row<{ expected: string | null } & Record<ParentLevel, boolean>>(CHAIN, id),
    deleteAdditions(tx, 'Instance', [id]),
  ]);
  if (file === undefined || chain === undefined) throw new IsenError('Database', 'An instance has no ancestors');
  tx.removeFiles([file], true);
  tx.send(REPLACE, id, ...fileValues(attachment), ...columnsOf('Instance', operation));
  tx.account(1, attachment.compressedSize, attachment.uncompressedSize, true);
  tx.log('NewInstance', 'Instance', summary.ids.Instance);
  const at = tx.moment();
  for (const level of PARENT_LEVELS) touch(tx, level, new Map([[hexOf(summary.ids[level]), at]]), limits.stableAge);
  let only = true;
  for (const level of [...PARENT_LEVELS].reverse()) {
    only &&= chain[level];
    if (only) tx.send(REPLACE_PARENT[level], hexOf(summary.ids[level]), ...columnsOf(level, operation));
  }
  const expected = chain.Series ? summary.metadata.Series['ExpectedNumberOfInstances'] : chain.expected;
  if (expected == null) return;
  if (await isSeriesComplete(tx, hexOf(summary.ids.Series), Number(expected))) {
    tx.log('CompletedSeries', 'Series', summary.ids.Series);
  }
}
