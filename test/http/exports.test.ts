/** The log of exports over HTTP. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSqlite } from '../../src/database/sqlite.ts';
import { UNLIMITED } from '../contracts/database.ts';
import { make } from '../dicom/made.ts';
import { serve } from './served.ts';

test('the log of exports is paged as the reference pages it, and emptied', async () => {
  const server = await serve();
  const get = async (query = ''): Promise<unknown> => (await fetch(`${server.url}/exports${query}`)).json();
  try {
    assert.deepEqual(await get(), { Done: true, Exports: [], Last: 0 });
    const uploaded = await fetch(`${server.url}/instances`, { method: 'POST', body: new Uint8Array(make()) });
    const { ID, ParentStudy } = (await uploaded.json()) as { ID: string; ParentStudy: string };
    const index = await openSqlite({ path: join(server.storage, 'index'), limits: UNLIMITED });
    await index.commit([
      { kind: 'export', level: 'Study', id: ParentStudy, remote: 'pacs' },
      { kind: 'export', level: 'Instance', id: ID, remote: 'pacs' },
    ]);
    await index.close();
    const all = (await get()) as { Exports: Record<string, unknown>[] };
    const [study, instance] = all.Exports;
    assert.deepEqual(all, { Done: true, Exports: [study, instance], Last: 2 });
    assert.deepEqual(Object.keys(study ?? {}), [
      'Date',
      'ID',
      'Path',
      'PatientID',
      'RemoteModality',
      'ResourceType',
      'Seq',
      'StudyInstanceUID',
    ]);
    assert.deepEqual(
      [study?.['Path'], study?.['ResourceType'], study?.['RemoteModality'], study?.['Seq']],
      [`/studies/${ParentStudy}`, 'Study', 'pacs', 1],
    );
    assert.match(String(instance?.['Date']), /^20\d{6}T\d{6}$/);
    for (const name of ['PatientID', 'StudyInstanceUID', 'SeriesInstanceUID', 'SOPInstanceUID'])
      assert.equal(typeof instance?.[name], 'string', name);
    assert.deepEqual(await get('?limit=1'), { Done: false, Exports: [study], Last: 1 });
    assert.deepEqual(await get('?since=1&limit=1'), { Done: true, Exports: [instance], Last: 2 });
    assert.deepEqual(await get('?limit=0'), { Done: false, Exports: [], Last: 0 });
    assert.deepEqual(await get('?since=99'), { Done: true, Exports: [], Last: 99 });
    assert.deepEqual(await get('?last'), { Done: true, Exports: [instance], Last: 2 });
    assert.equal((await fetch(`${server.url}/exports`, { method: 'DELETE' })).status, 200);
    assert.deepEqual(await get(), { Done: true, Exports: [], Last: 0 });
  } finally {
    await server.close();
  }
});
