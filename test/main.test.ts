/** Owns what the composition refuses at the start, and what its options mean at their ends. */

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { IsenError } from '../src/errors.ts';
import { make } from './dicom/made.ts';
import { serve } from './http/served.ts';
import { temporaryFolder } from './peer.ts';

test('two servers never share an index, and the second may have it when the first has ended', async () => {
  const first = await serve();
  await assert.rejects(
    serve({ StorageDirectory: first.storage }),
    (thrown: unknown) => thrown instanceof IsenError && /another server/.test(thrown.details ?? ''),
  );
  await first.close();
  const second = await serve({ StorageDirectory: first.storage });
  await second.close();
});

test('a folder that cannot be made is refused by its name', async () => {
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, '');
  await assert.rejects(
    serve({ StorageDirectory: join(file, 'below') }),
    (thrown: unknown) =>
      thrown instanceof IsenError && thrown.code === 'CannotWriteFile' && thrown.details?.includes(file) === true,
  );
});

test('MaximumRequestBodySizeMB 0 is no limit', async () => {
  const server = await serve({ MaximumRequestBodySizeMB: 0 });
  const answer = await fetch(`${server.url}/instances`, { method: 'POST', body: new Uint8Array(make()) });
  assert.equal(answer.status, 200);
  await server.close();
});
