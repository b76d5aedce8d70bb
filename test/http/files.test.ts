/** Owns the proof that altered files never go out as if they were right: small ones, large ones, and parts of them. */

import assert from 'node:assert/strict';

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { get, IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Hono } from 'hono';
import { type Attachment, DICOM_ATTACHMENT } from '../../src/database/database.ts';
import { sendFile } from '../../src/http/files.ts';
import type { Environment } from '../../src/http/routes.ts';
import { log } from '../../src/log.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { make } from '../dicom/made.ts';
import { alterBlob, overwriteBlob } from '../storage/blobs.ts';
import { raw, serve } from './served.ts';

const server = await serve();
after(() => server.close());

/** Stores a file of `rows` × 512 16-bit pixels; what it is, its paths, and its blob. */
async function store(rows: number): Promise<{ bytes: Buffer; paths: string[]; blob: string; id: string }> {
  const bytes = Buffer.from(make({ rows, columns: 512, sopUid: `1.2.840.99.${rows}.${Date.now()}` }));
  const answer = await raw(server.port, '/instances', { method: 'POST' }, bytes);
  assert.equal(answer.status, 200);
  const { ID: id } = JSON.parse(answer.body.toString()) as { ID: string };
  const info = await raw(server.port, `/instances/${id}/attachments/dicom/info`);
  const { Uuid } = JSON.parse(info.body.toString()) as { Uuid: string };
  return {
    bytes,
    id,
    paths: ['file', 'attachments/dicom/data', 'attachments/dicom/compressed-data'].map(
      (of) => `/instances/${id}/${of}`,
    ),
    blob: Uuid,
  };
}

/** Flips one bit in place. */
const alter = (uuid: string, at: number): void => alterBlob(server.storage, uuid, at);

/** Milliseconds after which nobody takes an alteration for the end of the writing. */
const LATER = 600;

/** How a download ends: its bytes, and whether they are all that was announced. `meanwhile` is done after the first of them. */
async function download(
  path: string,
  meanwhile = (): void => {},
): Promise<{ status: number; body: Buffer; complete: boolean }> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port: server.port, path, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.once('data', meanwhile);
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', () => {});
      response.on('close', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks), complete: response.complete }),
      );
    }).on('error', reject);
  });
}

test('a small file altered in place is 500 with the error that says so, ranges of it too', async () => {
  for (const at of [10, 400, 200_000]) {
    const { bytes, paths, blob } = await store(256);
    const range = { headers: { range: 'bytes=0-99' } };
    for (const path of paths) {
      assert.deepEqual((await raw(server.port, path)).body, bytes);
      assert.deepEqual((await raw(server.port, path, range)).body, bytes.subarray(0, 100));
    }
    alter(blob, at);
    for (const path of paths) {
      for (const options of [{}, range]) {
        const answer = await raw(server.port, path, options);
        assert.equal(answer.status, 500);
        const error = JSON.parse(answer.body.toString()) as { OrthancStatus: number; Uri: string };
        assert.deepEqual([error.OrthancStatus, error.Uri], [20, path]);
      }
    }
    alter(blob, at);
    assert.deepEqual((await raw(server.port, paths[0] ?? '')).body, bytes);
  }
});

test('a large file altered in place is 500 with the error that says so, ranges of what is right in it too', async () => {
  const { bytes, paths, blob } = await store(3000);
  const range = { headers: { range: 'bytes=2000000-2000099' } };
  await sleep(LATER);
  for (const at of [200, 1_000_000, bytes.length - 1]) {
    for (const path of paths) {
      const { status, body, complete } = await download(path);
      assert.equal(status, 200);
      assert.ok(complete && body.equals(bytes));
      assert.deepEqual((await raw(server.port, path, range)).body, bytes.subarray(2_000_000, 2_000_100));
    }
    alter(blob, at);
    for (const path of paths) {
      for (const options of [{}, range]) {
        const { status, body } = await raw(server.port, path, options);
        assert.deepEqual([status, JSON.parse(body.toString()).OrthancStatus], [500, 20], `${path} altered at ${at}`);
      }
    }
    alter(blob, at);
    // The next alteration is of another time, whatever the grain of the clock.
    await sleep(20);
  }
});

test('a large file altered while it goes out breaks off before its end, and the log says why', async (context) => {
  const { bytes, paths, blob } = await store(40_000);
  const error = context.mock.method(log.http, 'error', () => {});
  for (const path of paths) {
    const { body, complete } = await download(path, () => alter(blob, bytes.length - 1));
    assert.equal(complete, false, path);
    assert.ok(body.length < bytes.length);
    alter(blob, bytes.length - 1);
  }
  assert.equal(error.mock.callCount(), 3);
  assert.ok((await download(paths[0] ?? '')).complete);
});

test('altered pixels behind an intact header are told by whatever reads them', async () => {
  const routes =
    'frames/0/raw frames/0/raw.gz preview rendered image-uint8 image-int16 numpy matlab frames/0/preview'.split(' ');
  for (const rows of [200, 2000]) {
    const { bytes, id, blob } = await store(rows);
    const statuses = async (): Promise<unknown[]> => {
      const found: unknown[] = [];
      for (const route of routes) {
        const { status, body } = await raw(server.port, `/instances/${id}/${route}`);
        found.push([route, status, status === 200 || JSON.parse(body.toString()).OrthancStatus]);
      }
      return found;
    };
    await sleep(LATER);
    // Not asked before: what was kept was right.
    alter(blob, bytes.length - 1);
    assert.deepEqual(
      await statuses(),
      routes.map((route) => [route, 500, 20]),
    );
    assert.equal((await raw(server.port, `/instances/${id}/tags`)).status, 200);
    alter(blob, bytes.length - 1);
    assert.deepEqual(
      await statuses(),
      routes.map((route) => [route, 200, true]),
    );
  }
});

test('an altered file is not modified, nor anonymised', async () => {
  for (const rows of [200, 2000]) {
    const { bytes, id, blob } = await store(rows);
    const status = async (): Promise<readonly unknown[]> => {
      const answers = ['modify', 'anonymize'].map((what) =>
        raw(
          server.port,
          `/instances/${id}/${what}`,
          { method: 'POST' },
          Buffer.from('{"Replace":{"PatientName":"X"}}'),
        ),
      );
      return (await Promise.all(answers)).map(({ status: code }) => code);
    };
    await sleep(LATER);
    alter(blob, bytes.length - 1);
    assert.deepEqual(await status(), [500, 500]);
    alter(blob, bytes.length - 1);
    assert.deepEqual(await status(), [200, 200]);
  }
});

test('more small files at once than are held in memory are right all the same', async () => {
  const { bytes, paths } = await store(900);
  const answers = await Promise.all(Array.from({ length: 150 }, () => download(paths[0] ?? '')));
  for (const { body, complete } of answers) assert.ok(complete && body.equals(bytes));
});

test('small files count as held from when that is decided, and for no client that has left', async () => {
  const root = mkdtempSync(join(tmpdir(), 'isen-held-'));
  const storage = await openFilesystem({ root, sync: false });
  const bytes = randomBytes(1 << 20);
  const uuid = storage.name();
  await storage.put(uuid, bytes);
  await storage.keep(uuid);
  const md5 = createHash('md5').update(bytes).digest('hex');
  const attachment: Attachment = {
    uuid,
    contentType: DICOM_ATTACHMENT,
    compression: 'none',
    uncompressedSize: bytes.length,
    uncompressedMD5: md5,
    compressedSize: bytes.length,
    compressedMD5: md5,
  };
  let streamed = 0;
  const counted: Storage = {
    ...storage,
    stream: (...asked) => {
      streamed += 1;
      return storage.stream(...asked);
    },
  };
  const app = new Hono<Environment>();
  app.get('/', (context) => sendFile(context, counted, attachment, {}, Date.now()));
  const clients: ServerResponse[] = [];
  const together = async (leave: boolean): Promise<number> => {
    streamed = 0;
    await Promise.all(
      Array.from({ length: 70 }, async () => {
        const socket = new Socket();
        const incoming = new IncomingMessage(socket);
        const outgoing = new ServerResponse(incoming);
        outgoing.assignSocket(socket);
        clients.push(outgoing);
        if (leave) {
          const closed = once(outgoing, 'close');
          outgoing.destroy();
          await closed;
        }
        const answer = await app.request('/', {}, { incoming, outgoing });
        assert.ok(bytes.equals(Buffer.from(await answer.arrayBuffer())));
      }),
    );
    return streamed;
  };
  try {
    await together(true);
    assert.equal(await together(false), 70 - 64);
  } finally {
    for (const client of clients) client.destroy();
    rmSync(root, { recursive: true });
  }
});

test('a file that is read whole for its header is compared with its MD5', async () => {
  const bytes = make({ sopUid: `1.2.840.98.${Date.now()}`, without: ['7fe0,0010'] });
  const { body } = await raw(server.port, '/instances', { method: 'POST' }, bytes);
  const { ID } = JSON.parse(body.toString()) as { ID: string };
  const info = await raw(server.port, `/instances/${ID}/attachments/dicom/info`);
  const { Uuid } = JSON.parse(info.body.toString()) as { Uuid: string };
  alter(Uuid, bytes.length - 1);
  for (const path of ['tags', 'simplified-tags', 'header', 'content']) {
    assert.equal((await raw(server.port, `/instances/${ID}/${path}`)).status, 500, path);
  }
});

test('an altered header is told by whatever reads it, and no wrong name is given as right', async () => {
  const { bytes, id, blob } = await store(64);
  const routes = [
    'tags',
    'simplified-tags',
    'header',
    'module',
    'content/0010-0010',
    'frames',
    'frames/0/raw',
    'frames/0/raw.gz',
    'preview',
    'numpy',
  ];
  // Not asked before: what was kept was right.
  overwriteBlob(server.storage, blob, Buffer.from('X'), bytes.indexOf(Buffer.from([0x10, 0, 0x10, 0])) + 8);
  for (const route of routes) {
    const { status, body } = await raw(server.port, `/instances/${id}/${route}`);
    assert.deepEqual([status, JSON.parse(body.toString()).OrthancStatus], [500, 20], route);
  }
  overwriteBlob(server.storage, blob, Buffer.alloc(bytes.length));
  for (const route of routes) {
    const { status, body } = await raw(server.port, `/instances/${id}/${route}`);
    assert.deepEqual([status, JSON.parse(body.toString()).OrthancStatus], [500, 20], `${route} of zeros`);
  }
});

test('the MD5 of a header is nothing that clients see', async () => {
  const { id } = await store(8);
  for (const query of ['', '?expand', '?numeric']) {
    const { body } = await raw(server.port, `/instances/${id}/metadata${query}`);
    assert.ok(!/Header|null/.test(body.toString()), body.toString());
  }
  assert.equal((await raw(server.port, `/instances/${id}/metadata/HeaderMD5`)).status, 404);
});

test('the tags of a large deflated file are those of the same file that is not, also where its header is large', async () => {
  const DEFLATED = '1.2.840.10008.1.2.1.99';
  const value = randomBytes(600_000);
  for (const extra of [[], [{ tag: '0029,1010', vr: 'OB', value }] as const]) {
    const read: string[] = [];
    for (const transferSyntax of ['1.2.840.10008.1.2.1', DEFLATED]) {
      const sopUid = `1.2.840.96.${transferSyntax.length}.${extra.length}.${Date.now()}`;
      const options = { sopUid, rows: 512, columns: 1024, pixels: randomBytes(1 << 20), extra };
      const bytes = make({ ...options, transferSyntax });
      const { body } = await raw(server.port, '/instances', { method: 'POST' }, bytes);
      const { ID } = JSON.parse(body.toString()) as { ID: string };
      const tags = await raw(server.port, `/instances/${ID}/tags`);
      assert.equal(tags.status, 200);
      read.push(tags.body.toString().replaceAll(sopUid, ''));
      if (transferSyntax !== DEFLATED) continue;
      const info = await raw(server.port, `/instances/${ID}/attachments/dicom/info`);
      const { Uuid } = JSON.parse(info.body.toString()) as { Uuid: string };
      await sleep(LATER);
      alter(Uuid, bytes.length - 100);
      // Other questions than what was kept.
      for (const route of ['simplified-tags', 'frames', 'frames/0/raw', 'preview', 'content/PatientName']) {
        const answer = await raw(server.port, `/instances/${ID}/${route}`);
        assert.deepEqual([answer.status, JSON.parse(answer.body.toString()).OrthancStatus], [500, 20], route);
      }
    }
    assert.equal(read[1], read[0]);
  }
});
