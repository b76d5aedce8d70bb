/** Owns the S3 backend's run of the storage contract against a real engine, and what only a shared, remote one can show. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { before, suite, test } from 'node:test';
import { IsenError } from '../../src/errors.ts';
import { openS3, type S3Options } from '../../src/storage/s3.ts';
import { storageContract } from '../contracts/storage.ts';
import { freePort, without } from '../peer.ts';
import { S3_SERVER, type S3Server, startS3 } from '../s3-server.ts';

const refuses = (code: string) => (thrown: unknown) => thrown instanceof IsenError && thrown.code === code;

suite('S3', { skip: without(S3_SERVER) }, () => {
  let server: S3Server;
  before(async () => {
    server = await startS3();
  });
  const optionsOf = (node: string, prefix = ''): S3Options => ({
    bucket: server.bucket,
    endpoint: server.endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: server.accessKey, secretAccessKey: server.secretKey },
    virtualAddressing: false,
    prefix,
    node,
    connectionTimeout: 2000,
    requestTimeout: 10_000,
  });

  storageContract('S3', () => openS3(optionsOf('one', 'contract/')));

  test('what another living node has under way is not listed; what a node left is found under its own name', async () => {
    const one = await openS3(optionsOf('one', 'nodes/'));
    const uuid = one.name();
    await one.put(uuid, Buffer.from('x'));
    const two = await openS3(optionsOf('two', 'nodes/'));
    assert.deepEqual(await two.provisional(), []);
    assert.equal(Buffer.from(await two.read(uuid)).toString(), 'x');
    const again = await openS3(optionsOf('one', 'nodes/'));
    assert.deepEqual(await again.provisional(), [uuid]);
  });

  test('a blob of many parts comes back whole, and a range of it is only that', async () => {
    const storage = await openS3(optionsOf('one', 'large/'));
    const uuid = storage.name();
    const writer = await storage.create(uuid);
    const piece = randomBytes(1 << 20);
    for (let count = 0; count < 40; count++) await writer.write(piece);
    await writer.finish();
    assert.equal(await storage.size(uuid), 40 << 20);
    const range = await storage.read(uuid, { start: (33 << 20) - 5, end: (33 << 20) + 5 });
    assert.deepEqual(Buffer.from(range), Buffer.concat([piece.subarray(-5), piece.subarray(0, 5)]));
  });

  test('an engine that is gone answers Busy (503), and the same storage goes on when it is back', async () => {
    const storage = await openS3(optionsOf('one', 'outage/'));
    const uuid = storage.name();
    await storage.put(uuid, Buffer.from('before'));
    await server.kill();
    try {
      await assert.rejects(storage.read(uuid), refuses('Busy'));
      await assert.rejects(storage.put(storage.name(), Buffer.from('meanwhile')), refuses('Busy'));
      const writer = await storage.create(storage.name()).catch((thrown: unknown) => thrown);
      if (!refuses('Busy')(writer)) {
        assert.ok(typeof writer === 'object' && writer !== null && 'finish' in writer && 'write' in writer);
      }
    } finally {
      await server.start();
    }
    assert.equal(Buffer.from(await storage.read(uuid)).toString(), 'before');
    const after = storage.name();
    await storage.put(after, Buffer.from('after'));
    assert.equal(Buffer.from(await storage.read(after)).toString(), 'after');
  });

  test('a bucket, key or address that is wrong is refused at the start', async () => {
    await assert.rejects(openS3({ ...optionsOf('one'), bucket: 'absent' }), refuses('CannotWriteFile'));
    const credentials = { accessKeyId: server.accessKey, secretAccessKey: 'wrong' };
    await assert.rejects(openS3({ ...optionsOf('one'), credentials }), refuses('CannotWriteFile'));
    const endpoint = `http://127.0.0.1:${await freePort()}`;
    await assert.rejects(openS3({ ...optionsOf('one'), endpoint }), refuses('CannotWriteFile'));
  });
});
