/**
 * Owns the proof that an acknowledged image is never lost: the server is killed with SIGKILL at random moments under 16
 * uploading clients, or four modalities, again and again. After each restart every acknowledged instance is there with the right MD5, no file
 * is an orphan, no row dangles, and the log of changes has neither gap nor double.
 */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { COMMAND } from '../src/dicom/command.ts';
import { parse } from '../src/dicom/parsing.ts';
import { headOf } from '../src/dicom/received-file.ts';
import { requestAssociation } from '../src/scu/requestor.ts';
import { make } from './dicom/made.ts';
import { freePort, ROOT, temporaryFolder } from './peer.ts';
import { blobsBelow } from './storage/blobs.ts';

/** Kills; ISEN_CRASHES=50 for the long form. */
const CRASHES = Number(process.env['ISEN_CRASHES'] ?? (process.env['CI'] === 'true' ? 50 : 8));
const CLIENTS = 16;
/** Associations, and kills under them. */
const MODALITIES = 4;
const ASSOCIATION_CRASHES = Math.ceil(CRASHES / 4);

/** Starts the server of the command line and waits until it answers. */
async function serve(config: string, url: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'src', 'cli.js'), 'serve', config], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(25)) {
    assert.equal(child.exitCode, null, 'the server ended at its start');
    try {
      const answer = await fetch(`${url}/system`);
      await answer.arrayBuffer();
      return child;
    } catch {
      // It does not listen yet.
    }
  }
  throw new Error('the server did not start');
}

async function get<T>(url: string): Promise<T> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(60_000) });
  assert.equal(answer.status, 200, url);
  return (await answer.json()) as T;
}

/** Uploads distinct instances until the server dies; notes what was acknowledged. */
async function uploadUntilDeath(url: string, acknowledged: Map<string, string>, client: number): Promise<void> {
  for (let count = 0; ; count++) {
    // Some bodies are larger than a slab, so that growing is in flight at the kill as well.
    const pixels = randomBytes(count % 20 === 19 ? 3_000_000 : 2 * randomInt(100, 20_000));
    const body = make({
      patientId: `P${client % 4}`,
      studyUid: `1.2.3.${client % 8}`,
      seriesUid: `1.2.3.${client}.1`,
      sopUid: `1.2.3.${client}.1.${randomInt(2 ** 40)}`,
      rows: 1,
      columns: pixels.length / 2,
      pixels,
    });
    try {
      const answer = await fetch(`${url}/instances`, { method: 'POST', body });
      const { ID } = (await answer.json()) as { ID: string };
      assert.equal(answer.status, 200);
      acknowledged.set(ID, createHash('md5').update(body).digest('hex'));
    } catch (thrown) {
      if (thrown instanceof assert.AssertionError) throw thrown;
      return;
    }
  }
}

const CT = '1.2.840.10008.5.1.4.1.1.2';

/** Sends distinct instances over one association until the server dies; notes what was acknowledged. */
async function sendUntilDeath(port: number, acknowledged: Map<string, string>, client: number): Promise<void> {
  const association = await requestAssociation({
    host: '127.0.0.1',
    port,
    callingAet: 'CT1',
    calledAet: 'ISEN',
    contexts: [{ abstractSyntax: CT, transferSyntaxes: ['1.2.840.10008.1.2.1'] }],
    patience: 10_000,
    maximumPdu: 16_384,
  });
  const [context] = association.contexts;
  assert.ok(context);
  try {
    for (;;) {
      const uid = `1.2.4.${client}.1.${randomInt(2 ** 40)}`;
      const dataSet = make({
        patientId: `M${client % 2}`,
        studyUid: `1.2.4.${client % 2}`,
        seriesUid: `1.2.4.${client}.1`,
        sopUid: uid,
        pixels: randomBytes(2 * randomInt(100, 100_000)),
        part10: false,
      });
      const command = {
        CommandField: COMMAND['C-STORE-RQ'],
        MessageID: association.nextMessageId(),
        Priority: 0,
        AffectedSOPClassUID: CT,
        AffectedSOPInstanceUID: uid,
      };
      await association.send(context, command, [dataSet]);
      const answer = await association.receive();
      assert.equal(answer?.command.Status, 0);
      const bytes = Buffer.concat([headOf(context, command, 'CT1'), dataSet]);
      const { ids } = parse({ bytes, size: bytes.length, hash: false });
      acknowledged.set(ids.Instance, createHash('md5').update(bytes).digest('hex'));
    }
  } catch (thrown) {
    if (thrown instanceof assert.AssertionError) throw thrown;
  }
}

async function verify(
  url: string,
  storage: string,
  acknowledged: ReadonlyMap<string, string>,
  sample: number,
): Promise<void> {
  const listed = await get<string[]>(`${url}/instances`);
  const instances = new Set(listed);
  for (const id of acknowledged.keys()) assert.ok(instances.has(id), `acknowledged ${id} is lost`);
  const uuids = new Set<string>();
  for (const { FileUuid } of await get<{ FileUuid: string }[]>(`${url}/instances?expand&since=0&limit=1000000`))
    uuids.add(FileUuid);
  const recent = [...acknowledged].slice(-sample);
  for (const [id, md5] of recent) {
    const answer = await fetch(`${url}/instances/${id}/file`);
    const bytes = Buffer.from(await answer.arrayBuffer());
    assert.equal(createHash('md5').update(bytes).digest('hex'), md5, `the bytes of ${id}`);
    const stored = await fetch(`${url}/instances/${id}/attachments/dicom/md5`);
    assert.equal(await stored.text(), md5, `the MD5 of ${id}`);
  }
  const files = blobsBelow(storage);
  assert.equal(new Set(files).size, files.length, 'a file is there twice');
  for (const file of files) assert.ok(uuids.has(file), `orphan file ${file}`);
  assert.equal(files.length, uuids.size, 'a row without its file');

  const created = new Map<string, number>();
  let last = 0;
  for (let done = false; !done; ) {
    const page = await get<{ Changes: { Seq: number; ChangeType: string; ID: string }[]; Done: boolean; Last: number }>(
      `${url}/changes?since=${last}&limit=1000`,
    );
    for (const change of page.Changes) {
      assert.equal(change.Seq, last + 1, 'a gap or a double in the changes');
      last = change.Seq;
      if (change.ChangeType === 'NewInstance') created.set(change.ID, (created.get(change.ID) ?? 0) + 1);
    }
    done = page.Done;
  }
  assert.equal(created.size, instances.size, 'each instance has its change');
  for (const [id, times] of created) assert.ok(times === 1 && instances.has(id), `NewInstance ${id} ${times} times`);
}

interface Crashes {
  readonly crashes: number;
  readonly clients: number;
  readonly until: (
    server: { url: string; dicomPort: number },
    acknowledged: Map<string, string>,
    client: number,
  ) => Promise<void>;
}

async function survive({ crashes, clients: count, until }: Crashes): Promise<Map<string, string>> {
  const folder = temporaryFolder();
  const storage = join(folder, 'storage');
  const [port, dicomPort] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${port}`;
  const config = join(folder, 'config.json');
  writeFileSync(
    config,
    JSON.stringify({ HttpPort: port, StorageDirectory: storage, DicomPort: dicomPort, StableAge: 1 }),
  );
  const acknowledged = new Map<string, string>();
  let server = await serve(config, url);
  try {
    for (let crash = 0; crash < crashes; crash++) {
      const clients = Array.from({ length: count }, (_, client) => until({ url, dicomPort }, acknowledged, client));
      // Some are on their way to the disk by then, however slow that is.
      const before = acknowledged.size;
      for (const deadline = Date.now() + 30_000; Date.now() < deadline && acknowledged.size < before + CLIENTS; )
        await sleep(5);
      await sleep(randomInt(0, 300));
      server.kill('SIGKILL');
      await Promise.all(clients);
      server = await serve(config, url);
      await verify(url, storage, acknowledged, 50);
    }
    await verify(url, storage, acknowledged, Number.POSITIVE_INFINITY);
  } finally {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGTERM');
    await ended;
  }
  assert.equal(server.exitCode, 0, 'a graceful end exits with 0');
  assert.ok(acknowledged.size >= crashes * CLIENTS, 'something was stored');
  return acknowledged;
}

test(`${CRASHES} kills under ${CLIENTS} uploading clients lose nothing that was acknowledged`, async (context) => {
  const until: Crashes['until'] = ({ url }, acknowledged, client) => uploadUntilDeath(url, acknowledged, client);
  const { size } = await survive({ crashes: CRASHES, clients: CLIENTS, until });
  context.diagnostic(`${size} acknowledged`);
});

test(`${ASSOCIATION_CRASHES} kills under ${MODALITIES} associations lose nothing that was answered`, async (context) => {
  const until: Crashes['until'] = ({ dicomPort }, acknowledged, client) =>
    sendUntilDeath(dicomPort, acknowledged, client);
  const { size } = await survive({ crashes: ASSOCIATION_CRASHES, clients: MODALITIES, until });
  context.diagnostic(`${size} acknowledged`);
});
