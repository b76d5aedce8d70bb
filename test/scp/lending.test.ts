/** Owns the proof that an association which is lent to the thread of the index is served as ever: nothing is lost, doubled, mixed or left open. */

import assert from 'node:assert/strict';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer } from '../../src/answer.ts';
import { createEmbeddedChanges } from '../../src/changes/embedded.ts';
import { loadConfig } from '../../src/config.ts';
import type { Attendance, Attended, Attending } from '../../src/database/attending.ts';
import type { Database } from '../../src/database/database.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import { COMMAND } from '../../src/dicom/command.ts';
import { RELEASE_REQUEST } from '../../src/dicom/pdu.ts';
import { parse } from '../../src/dicom/parsing.ts';
import { headOf } from '../../src/dicom/received-file.ts';
import { IsenError } from '../../src/errors.ts';
import type { Ingest } from '../../src/ingest/ingest.ts';
import { openIngest } from '../../src/ingest/reception.ts';
import { createPool } from '../../src/pool.ts';
import { echo } from '../../src/scp/echo.ts';
import { createDicomServer } from '../../src/scp/server.ts';
import { createStore } from '../../src/scp/store.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import type { Batch, ParsedFile } from '../../src/storage/parse-and-put.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { UNLIMITED } from '../contracts/database.ts';
import { make } from '../dicom/made.ts';
import { temporaryFolder } from '../peer.ts';
import { blobsBelow } from '../storage/blobs.ts';
import { BadPeer, CT_IMAGE_STORAGE, echoRequest, fragment, storeRequest } from './bad-peer.ts';

const skip = process.platform === 'linux' ? false : 'associations are lent on Linux only';
const CONTEXT = { abstractSyntax: CT_IMAGE_STORAGE, transferSyntax: '1.2.840.10008.1.2.1' };

interface Door {
  readonly port: number;
  readonly ingest: Ingest;
  readonly database: Database;
  readonly storage: Storage;
  readonly folder: string;
  /** What the thread has told. */
  readonly told: Attended[];
  /** Closes the door alone. */
  shut(): Promise<void>;
}

interface DoorOptions {
  /** In the place of the thread's, now and then. */
  readonly attend?: (real: NonNullable<Database['attend']>, attending: Attending) => Attendance;
  readonly budget?: number;
}

async function withDoor(use: (door: Door) => Promise<void>, options: DoorOptions = {}): Promise<void> {
  const folder = temporaryFolder();
  const storage = await openFilesystem({ root: join(folder, 'storage'), sync: true });
  const index = await openSqlite({ path: join(folder, 'index'), limits: UNLIMITED });
  const told: Attended[] = [];
  const real = index.attend?.bind(index);
  assert.ok(real);
  const attend = (attending: Attending): Attendance => {
    const attendance = options.attend?.(real, attending) ?? real(attending);
    attendance.ended.then(
      (attended) => told.push(attended),
      () => {},
    );
    return attendance;
  };
  const database: Database = { ...index, attend };
  const parsers = createPool<Batch, readonly Answer<ParsedFile>[]>({ file: 'parse', threads: 1 });
  const ingest = await openIngest({
    database,
    storage,
    changes: createEmbeddedChanges(database),
    parsers,
    overwrite: 'Never',
    hash: true,
    budget: options.budget ?? 64 << 20,
    largestBody: 128 << 20,
    minimumFree: 0,
    announcesLater: true,
  });
  const { config } = loadConfig({ env: { ISEN__DICOM_PORT: '0' } });
  const server = await createDicomServer({
    config,
    modalities: { list: () => Promise.resolve([]) },
    services: [echo, createStore(ingest, config)],
  });
  const { port } = await server.listen();
  try {
    await use({ port, ingest, database, storage, folder, told, shut: () => server.close(5000) });
  } finally {
    await server.close(5000);
    await ingest.close();
    await parsers.close();
    await index.close();
    await storage.close();
  }
}

let uids = 0;
const newUid = (): string => `1.2.826.${(uids += 1)}`;

interface Instance {
  readonly uid: string;
  readonly dataSet: Buffer;
}

function newInstance(bytes: number, uid = newUid()): Instance {
  const pixels = randomBytes(2 * Math.ceil(bytes / 2));
  const made = { sopUid: uid, pixels };
  return { uid, dataSet: make({ ...made, part10: false }) };
}

/** The file as it is to be stored. */
const fileOf = ({ uid, dataSet }: Instance): Buffer =>
  Buffer.concat([
    headOf(
      { ...CONTEXT },
      { CommandField: 1, AffectedSOPClassUID: CT_IMAGE_STORAGE, AffectedSOPInstanceUID: uid },
      'BAD',
    ),
    dataSet,
  ]);

const idOf = (instance: Instance): string => {
  const bytes = fileOf(instance);
  return parse({ bytes, size: bytes.length, hash: false }).ids.Instance;
};

function dataOf({ dataSet }: Instance, most = 16_000): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < dataSet.length; at += most)
    parts.push(fragment(3, false, at + most >= dataSet.length, dataSet.subarray(at, at + most)));
  return Buffer.concat(parts);
}

const requestOf = (instance: Instance): Buffer => Buffer.concat([storeRequest(instance.uid), dataOf(instance)]);

async function store(peer: BadPeer, instance: Instance): Promise<void> {
  peer.send(requestOf(instance));
  const { CommandField, Status, AffectedSOPInstanceUID } = await peer.response();
  assert.deepEqual([CommandField, Status, AffectedSOPInstanceUID], [0x8001, 0, instance.uid]);
}

const countOf = (told: readonly Attended[]): number =>
  told.flatMap(({ files }) => files.filter(({ state }) => state === 'stored')).length;

/** A peer whose association is lent, and what it has sent. */
async function lentPeer(door: Door): Promise<{ readonly peer: BadPeer; readonly sent: Instance[] }> {
  const peer = await BadPeer.associate(door.port);
  const sent: Instance[] = [];
  const before = countOf(door.told);
  for (let tries = 0; countOf(door.told) === before; tries += 1) {
    assert.ok(tries < 200, 'the association is never lent');
    const instance = newInstance(5000);
    await store(peer, instance);
    sent.push(instance);
  }
  return { peer, sent };
}

/** Has a peer send one instance after the other, which are added to `sent`, until what is answered is called. */
function keepBusy(peer: BadPeer, sent: Instance[]): () => Promise<void> {
  let isOver = false;
  const sending = (async () => {
    while (!isOver) {
      const instance = newInstance(2000);
      await store(peer, instance);
      sent.push(instance);
    }
  })();
  return () => {
    isOver = true;
    return sending;
  };
}

/** That these, and nothing else, are stored as they were sent. */
async function isStored({ database, storage, folder }: Door, instances: readonly Instance[]): Promise<void> {
  for (const instance of instances) {
    const [found] = await database.find({ level: 'Instance', id: idOf(instance) });
    const [attachment] = found?.attachments ?? [];
    assert.ok(found && attachment, `${instance.uid} is not there`);
    const file = fileOf(instance);
    assert.ok(file.equals(await storage.read(attachment.uuid)), `the bytes of ${instance.uid}`);
    assert.equal(attachment.uncompressedMD5, createHash('md5').update(file).digest('hex'));
    assert.equal(found.metadata['RemoteAET']?.value, 'BAD');
    assert.equal(found.metadata['CalledAET']?.value, 'ISEN');
    assert.match(found.metadata['ReceptionDate']?.value ?? '', /^\d{8}T\d{6}$/);
  }
  assert.equal((await database.statistics())?.instances, instances.length);
  await soon(() => blobsBelow(join(folder, 'storage')).length === instances.length, 'files that nobody refers to');
}

async function soon(check: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !check(); tries += 1) {
    assert.ok(tries < 250, what);
    await sleep(20);
  }
}

/** Descriptors of sockets that are open. */
function sockets(): number {
  const links = readdirSync('/proc/self/fd').map((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`);
    } catch {
      return '';
    }
  });
  return links.filter((link) => link.startsWith('socket:')).length;
}

test('what follows in quick succession is stored as it was sent, by the thread of the index', { skip }, async () => {
  await withDoor(async (door) => {
    const sent: Instance[] = [];
    await Promise.all(
      [1, 2, 3].map(async () => {
        const peer = await BadPeer.associate(door.port);
        for (let count = 0; count < 60; count += 1) {
          const instance = newInstance([20, 5000, 70_000, 150_000, 600_000][randomInt(5)] ?? 0);
          await store(peer, instance);
          sent.push(instance);
        }
        peer.send(RELEASE_REQUEST);
        assert.deepEqual(await peer.ending(), [6]);
      }),
    );
    await isStored(door, sent);
    assert.ok(countOf(door.told) > 150, `${countOf(door.told)} of ${sent.length} by the thread`);
    const { changes } = await door.database.changes({ since: 0, limit: 1000 });
    assert.deepEqual(
      changes.map(({ seq }) => seq),
      changes.map((_, at) => at + 1),
    );
    assert.equal(changes.filter(({ type }) => type === 'NewInstance').length, sent.length);
  });
});

test('what is not stored plainly is answered as ever, and the association goes on', { skip }, async () => {
  const again = newInstance(3000);
  const twoValues = (instance: Instance): Buffer => {
    const half = instance.dataSet.length >> 1;
    const [one, two] = [instance.dataSet.subarray(0, half), instance.dataSet.subarray(half)];
    const pdu = Buffer.concat([fragment(3, false, false, one), fragment(3, false, true, two).subarray(6)]);
    pdu.writeUInt32BE(pdu.length - 6, 2);
    return Buffer.concat([storeRequest(instance.uid), pdu]);
  };
  const crowded = (uid: string): Instance => {
    const empty = Array.from({ length: 6000 }, (_, at) => ({
      tag: `0009,${(at + 0x1000).toString(16)}`,
      vr: 'UN' as const,
      value: new Uint8Array(),
    }));
    const extra = [{ tag: '0009,0010', vr: 'LO' as const, value: 'ISEN' }, ...empty];
    return { uid, dataSet: make({ sopUid: uid, part10: false, extra }) };
  };
  const cases: Readonly<Record<string, (peer: BadPeer) => Promise<readonly Instance[]>>> = {
    async 'a C-ECHO'(peer) {
      peer.send(echoRequest(9));
      const { CommandField, MessageIDBeingRespondedTo } = await peer.response();
      assert.deepEqual([CommandField, MessageIDBeingRespondedTo], [COMMAND['C-ECHO-RSP'], 9]);
      return [];
    },
    async 'an instance that is there'(peer) {
      await store(peer, again);
      await store(peer, again);
      await store(peer, again);
      return [again];
    },
    async 'another instance than was announced'(peer) {
      peer.send(storeRequest(newUid()), dataOf(newInstance(3000)));
      assert.equal((await peer.response()).Status, 0xa900);
      return [];
    },
    async 'what is no data set'(peer) {
      const uid = newUid();
      peer.send(storeRequest(uid), fragment(3, false, true, randomBytes(3000)));
      const status = (await peer.response()).Status ?? 0;
      assert.equal(status & 0xf000, 0xc000, status.toString(16));
      return [];
    },
    async 'a large one'(peer) {
      const large = newInstance(3_000_000);
      await store(peer, large);
      return [large];
    },
    async 'one just as large as a slab'(peer) {
      const all = [-1, 0, 1, 2, 64].map((more) => newInstance((1 << 20) - fileOf(newInstance(0)).length + more));
      for (const each of all) await store(peer, each);
      return all;
    },
    async 'two values in a PDU'(peer) {
      const instance = newInstance(8000);
      peer.send(twoValues(instance));
      assert.equal((await peer.response()).Status, 0);
      return [instance];
    },
    async 'more elements than are parsed quickly'(peer) {
      const instance = crowded(newUid());
      await store(peer, instance);
      return [instance];
    },
    async 'two requests at once'(peer) {
      const two = [newInstance(100_000), newInstance(3000)];
      peer.send(...two.map(requestOf));
      for (const { uid } of two) assert.equal((await peer.response()).AffectedSOPInstanceUID, uid);
      return two;
    },
    async 'silence in the middle'(peer) {
      const instance = newInstance(50_000);
      const bytes = requestOf(instance);
      for (const [from, to] of [
        [0, 5],
        [5, 30_000],
        [30_000, 30_007],
        [30_007, bytes.length],
      ] as const) {
        peer.send(bytes.subarray(from, to));
        await sleep(200);
      }
      assert.equal((await peer.response()).Status, 0);
      return [instance];
    },
    async 'one byte a segment'(peer) {
      const instance = newInstance(300);
      await peer.drip(requestOf(instance));
      assert.equal((await peer.response()).Status, 0);
      return [instance];
    },
    async 'one that takes long'(peer) {
      const instance = newInstance(60_000);
      const bytes = requestOf(instance);
      for (let at = 0; at < bytes.length; at += 1000) {
        peer.send(bytes.subarray(at, at + 1000));
        await sleep(30);
      }
      assert.equal((await peer.response()).Status, 0);
      return [instance];
    },
  };
  await withDoor(async (door) => {
    const all = new Set<Instance>();
    for (const [what, odd] of Object.entries(cases)) {
      const { peer, sent } = await lentPeer(door);
      for (const each of [...sent, ...(await odd(peer))]) all.add(each);
      const after = newInstance(3000);
      await store(peer, after);
      all.add(after);
      peer.send(RELEASE_REQUEST);
      assert.deepEqual(await peer.ending(), [6], what);
    }
    await isStored(door, [...all]);
  });
});

test('a peer that breaks a rule, or is gone, leaves nothing behind', { skip }, async () => {
  const begun = requestOf(newInstance(200_000)).subarray(0, 100_000);
  const ends: Readonly<Record<string, (peer: BadPeer) => Promise<void>>> = {
    async 'an unknown PDU'(peer) {
      peer.send(Buffer.from([9, 0, 0, 0, 0, 4, 0, 0, 0, 0]));
      assert.deepEqual(await peer.ending(), [7]);
    },
    async 'a PDU that is too large, in a data set'(peer) {
      peer.send(begun, Buffer.alloc(2_000_000));
      assert.equal((await peer.ending()).at(-1), 7);
    },
    async 'a command in a data set'(peer) {
      peer.send(storeRequest(newUid()), storeRequest(newUid()));
      assert.deepEqual(await peer.ending(), [7]);
    },
    async 'an abort in a data set'(peer) {
      peer.send(storeRequest(newUid()), Buffer.from([7, 0, 0, 0, 0, 4, 0, 0, 0, 0]));
      assert.deepEqual(await peer.ending(), []);
    },
    async 'the end of the connection'(peer) {
      peer.socket.end(begun);
      await peer.closed;
    },
    async 'a reset of the connection'(peer) {
      peer.send(begun);
      await sleep(5);
      peer.socket.resetAndDestroy();
    },
    async 'the end behind a whole request'(peer) {
      peer.socket.resetAndDestroy();
    },
  };
  await withDoor(
    async (door) => {
      const all: Instance[] = [];
      const { peer: first, sent: before } = await lentPeer(door);
      all.push(...before);
      first.destroy();
      await sleep(100);
      const open = sockets();
      for (let round = 0; round < 3; round += 1) {
        for (const end of Object.values(ends)) {
          const { peer, sent } = await lentPeer(door);
          all.push(...sent);
          await end(peer);
        }
      }
      await soon(() => sockets() <= open, 'sockets that nobody closes');
      // Every slab has come back.
      const slabs = Array.from({ length: 6 }, () => door.ingest.receiveNow());
      assert.ok(slabs.every((slab) => slab !== undefined));
      for (const slab of slabs) slab?.release();
      await isStored(door, all);
    },
    { budget: 8 << 20 },
  );
});

test('other work has its turn, and is not in the way of what comes', { skip }, async () => {
  await withDoor(async (door) => {
    const { peer: first, sent: all } = await lentPeer(door);
    const target = { level: 'Instance', id: idOf(all[0] ?? newInstance(1)) } as const;
    let isOver = false;
    const sending = Promise.all(
      [first, await BadPeer.associate(door.port), await BadPeer.associate(door.port)].map(async (peer) => {
        for (let count = 0; count < 150; count += 1) {
          const instance = newInstance(30_000);
          await store(peer, instance);
          all.push(instance);
        }
        peer.destroy();
      }),
    ).finally(() => {
      isOver = true;
    });
    let slowest = 0;
    let changes = 0;
    for (; !isOver; changes += 1) {
      const began = performance.now();
      await door.ingest.apply({ kind: 'metadata', ...target, name: '1024', value: String(changes) });
      slowest = Math.max(slowest, performance.now() - began);
      await sleep(changes % 20 === 0 ? 50 : 1);
    }
    await sending;
    assert.ok(changes > 20 && slowest < 2000, `${changes} changes, the slowest took ${slowest} ms`);
    // Several files at once are for more threads: what is lent, and never silent, comes back.
    const { peer, sent } = await lentPeer(door);
    all.push(...sent);
    const isRecalled = (): boolean =>
      door.told.some(({ returned }) => returned.some(({ reason }) => reason === 'recalled'));
    const upload = async (): Promise<void> => {
      const instance = newInstance(20_000);
      const slab = await door.ingest.receive();
      await slab.append(fileOf(instance));
      const of = { remoteIp: '', remoteAet: 'BAD', calledAet: 'ISEN', username: '' };
      await door.ingest.store(slab, { origin: 'RestApi', ...of });
      all.push(instance);
    };
    const stop = keepBusy(peer, all);
    for (let bursts = 0; !isRecalled(); bursts += 1) {
      assert.ok(bursts < 20, 'no recall');
      const before = countOf(door.told);
      await soon(() => countOf(door.told) > before, 'the association is lent no more');
      await Promise.all(Array.from({ length: 12 }, upload));
    }
    await stop();
    await isStored(door, all);
  });
});

test('the memory of what is lent is given up for whoever waits for some', { skip }, async () => {
  await withDoor(
    async (door) => {
      const { peer, sent } = await lentPeer(door);
      const stop = keepBusy(peer, sent);
      // All that there are: the one of the association, which is never silent, is among them.
      const slabs = await Promise.race([Promise.all([1, 2, 3, 4].map(() => door.ingest.receive())), sleep(10_000)]);
      assert.ok(slabs, 'a slab was waited for in vain');
      const stopped = stop();
      for (const slab of slabs) slab.release();
      await stopped;
      await isStored(door, sent);
    },
    { budget: 4 << 20 },
  );
});

test('closing answers what was asked of the thread, and no more is taken', { skip }, async () => {
  await withDoor(async (door) => {
    const { peer, sent } = await lentPeer(door);
    const { peer: idle, sent: more } = await lentPeer(door);
    const all = [...sent, ...more];
    const asked = newInstance(400_000);
    const bytes = requestOf(asked);
    peer.send(bytes.subarray(0, 300_000));
    await sleep(20);
    const shut = door.shut();
    peer.send(bytes.subarray(300_000));
    assert.equal((await peer.response()).Status, 0);
    await Promise.all([shut, peer.closed, idle.closed]);
    await isStored(door, [...all, asked]);
  });
});

/** Sends on until the server aborts the association; what was answered until then. */
async function untilAborted(peer: BadPeer): Promise<readonly Instance[]> {
  const answered: Instance[] = [];
  for (;;) {
    const instance = newInstance(2000);
    peer.send(requestOf(instance));
    const [type] = (await peer.pdu()) ?? [];
    if (type !== 4) {
      assert.equal(type, 7);
      assert.deepEqual(await peer.ending(), []);
      return answered;
    }
    answered.push(instance);
  }
}

/** Has the thread forget what it has, as a new one would not know it. */
const forget = (real: NonNullable<Database['attend']>): Promise<Attended> =>
  real({ lent: [], held: [], room: undefined, hash: true }).ended;

test('when the thread is gone its associations are aborted, and the others are served', { skip }, async () => {
  let isFailing = false;
  await withDoor(
    async (door) => {
      const { peer, sent } = await lentPeer(door);
      isFailing = true;
      const ending = untilAborted(peer);
      await sleep(50);
      // Meanwhile the others are to be lent as well.
      const others = await Promise.all([BadPeer.associate(door.port), BadPeer.associate(door.port)]);
      for (let count = 0; count < 30; count += 1) {
        for (const other of others) {
          const instance = newInstance(2000);
          await store(other, instance);
          sent.push(instance);
        }
      }
      sent.push(...(await ending));
      const { peer: next, sent: more } = await lentPeer(door);
      for (const each of [next, ...others]) {
        const instance = newInstance(300_000);
        await store(each, instance);
        sent.push(instance);
        each.destroy();
      }
      await isStored(door, [...sent, ...more]);
    },
    {
      attend(real, attending) {
        if (!isFailing) return real(attending);
        isFailing = false;
        const ended = forget(real).then(async (): Promise<Attended> => {
          await sleep(300);
          throw new IsenError('DatabaseUnavailable', 'the thread is gone');
        });
        return { ended, end() {} };
      },
    },
  );
});

test('when another thread has taken the place of the one that had an association, it is aborted', {
  skip,
}, async () => {
  let isReplaced = false;
  await withDoor(
    async (door) => {
      const { peer, sent } = await lentPeer(door);
      isReplaced = true;
      sent.push(...(await untilAborted(peer)));
      const { peer: next, sent: more } = await lentPeer(door);
      next.destroy();
      await isStored(door, [...sent, ...more]);
      await door.ingest.recall();
    },
    {
      attend(real, attending) {
        if (!isReplaced) return real(attending);
        isReplaced = false;
        const ended = forget(real).then(() => real(attending).ended);
        return { ended, end() {} };
      },
    },
  );
});
