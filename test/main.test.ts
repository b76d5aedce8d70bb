/** Owns what the composition refuses at the start, and what its options mean at their ends. */

import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { IsenError } from '../src/errors.ts';
import { make } from './dicom/made.ts';
import { serve } from './http/served.ts';
import { temporaryFolder, without } from './peer.ts';
import { S3_SERVER, startS3 } from './s3-server.ts';

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

test('two servers of one name never share their files, whatever index they have', async () => {
  const first = await serve();
  const refused = (NodeName: string): Promise<unknown> =>
    serve({ StorageDirectory: first.storage, IndexDirectory: temporaryFolder(), NodeName });
  await assert.rejects(
    refused(''),
    (thrown: unknown) => thrown instanceof IsenError && /another server uses the files/.test(thrown.details ?? ''),
  );
  await first.close();
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

for (const option of ['S3', 'AwsS3Storage']) {
  test(`with ${option} the files are in the bucket, and nothing acknowledged is lost while it is away`, {
    skip: without(S3_SERVER),
  }, async () => {
    const engine = await startS3();
    const keys = { AccessKey: engine.accessKey, SecretKey: engine.secretKey, Endpoint: engine.endpoint };
    const bucket =
      option === 'S3'
        ? { ...keys, Bucket: engine.bucket, Prefix: 'isen' }
        : { ...keys, BucketName: engine.bucket, RootPath: '/isen', VirtualAddressing: false };
    const server = await serve({ [option]: bucket });
    const image = new Uint8Array(make());
    const upload = (): Promise<Response> => fetch(`${server.url}/instances`, { method: 'POST', body: image });
    const { ID } = (await (await upload()).json()) as { ID: string };
    const file = async (headers = {}): Promise<Response> => fetch(`${server.url}/instances/${ID}/file`, { headers });
    assert.deepEqual(new Uint8Array(await (await file()).arrayBuffer()), image);
    const data = `${server.url}/instances/${ID}/attachments/dicom/data`;
    const part = await fetch(data, { headers: { Range: 'bytes=10-19' } });
    assert.deepEqual(new Uint8Array(await part.arrayBuffer()), image.subarray(10, 20));
    const tags = (await (await fetch(`${server.url}/instances/${ID}/simplified-tags`)).json()) as { PatientID: string };
    assert.equal(typeof tags.PatientID, 'string');
    assert.deepEqual(
      readdirSync(server.storage).filter((name) => /^[0-9a-f]{2}$/.test(name)),
      [],
    );
    await engine.kill();
    const refused = await file();
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get('retry-after'), '1');
    await engine.start();
    assert.deepEqual(new Uint8Array(await (await file()).arrayBuffer()), image);
    assert.equal((await fetch(`${server.url}/instances/${ID}`, { method: 'DELETE' })).status, 200);
    await server.close();
    await engine.kill();
  });
}
