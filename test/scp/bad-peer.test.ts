/** Owns peers that break the rules: each loses its association, keeps no memory, and harms nobody else. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeCommand } from '../../src/dicom/command.ts';
import { requestAssociation } from '../../src/scu/requestor.ts';
import { proposed } from '../dicom/associate.ts';
import { associateRequest } from '../dicom/associate.ts';
import { make } from '../dicom/made.ts';
import { type Served, serve } from '../http/served.ts';
import { BadPeer, command, CONTEXTS, echoRequest, fragment, storeRequest } from './bad-peer.ts';

let server: Served;
before(async () => {
  server = await serve({ DicomServerEnabled: true, DicomPort: 0, DicomScpTimeout: 2, MaximumInFlightMB: 64 });
});
after(() => server.close());

const ACCEPT = 2;
const REJECT = 3;
const RELEASE_RESPONSE = 6;
const ABORT = 7;
const RELEASE = Buffer.from([5, 0, 0, 0, 0, 4, 0, 0, 0, 0]);

let count = 0;
const newUid = (): string => `2.25.77.${(count += 1)}`;
const dataSetOf = (sopUid: string, more: Parameters<typeof make>[0] = {}): Buffer =>
  make({ sopUid, part10: false, ...more });

const stored = async (): Promise<number> => {
  const answer = (await (await fetch(`${server.url}/statistics`)).json()) as { CountInstances: number };
  return answer.CountInstances;
};

/** Somebody who behaves is served: an echo, and an instance stored. */
async function others(): Promise<void> {
  const association = await requestAssociation({
    host: '127.0.0.1',
    port: server.dicomPort,
    callingAet: 'GOOD',
    calledAet: 'ISEN',
    contexts: [
      { abstractSyntax: '1.2.840.10008.1.1', transferSyntaxes: ['1.2.840.10008.1.2'] },
      { abstractSyntax: '1.2.840.10008.5.1.4.1.1.2', transferSyntaxes: ['1.2.840.10008.1.2.1'] },
    ],
    patience: 10_000,
    maximumPdu: 16384,
  });
  const [echo, ct] = association.contexts;
  assert.ok(echo !== undefined && ct !== undefined);
  await association.send(echo, { CommandField: 0x30, MessageID: 1, AffectedSOPClassUID: echo.abstractSyntax });
  assert.equal((await association.receive())?.command.Status, 0);
  const sopUid = newUid();
  const before = await stored();
  await association.send(
    ct,
    {
      CommandField: 1,
      MessageID: 2,
      Priority: 0,
      AffectedSOPClassUID: ct.abstractSyntax,
      AffectedSOPInstanceUID: sopUid,
    },
    [dataSetOf(sopUid)],
  );
  assert.equal((await association.receive())?.command.Status, 0);
  assert.equal(await stored(), before + 1);
  await association.release();
}

/** The server aborts (or, before any association, may just close). */
async function isAborted(peer: BadPeer): Promise<void> {
  const types = await peer.ending();
  assert.deepEqual(types, [ABORT]);
}

const wrong: Readonly<Record<string, (peer: BadPeer) => void>> = {
  'a data set before any command': (peer) => peer.send(fragment(3, false, true, Buffer.alloc(10))),
  'a context that was not accepted': (peer) => peer.send(command(7, { CommandField: 0x30 }, false)),
  'context 0': (peer) => peer.send(command(0, { CommandField: 0x30 }, false)),
  'a command before the data set of the last ended': (peer) => peer.send(storeRequest('1.2'), echoRequest()),
  'a data set on another context than its command': (peer) =>
    peer.send(storeRequest('1.2'), fragment(5, false, true, Buffer.alloc(10))),
  'commands that mix': (peer) =>
    peer.send(fragment(3, true, false, Buffer.alloc(10)), fragment(5, true, true, Buffer.alloc(10))),
  'a command set that is none': (peer) => peer.send(fragment(1, true, true, Buffer.alloc(40, 0xff))),
  'an empty command set': (peer) => peer.send(fragment(1, true, true, Buffer.alloc(0))),
  'a command set without end': (peer) => {
    for (let index = 0; index < 5; index++) peer.send(fragment(1, true, false, Buffer.alloc(16_000)));
  },
  'a PDU of type 8': (peer) => peer.send(Buffer.from([8, 0, 0, 0, 0, 4, 0, 0, 0, 0])),
  'HTTP in the middle': (peer) => peer.send(Buffer.from('GET / HTTP/1.1\r\n\r\n')),
  'P-DATA larger than was announced': (peer) => peer.send(Buffer.from([4, 0, 0, 1, 0, 0])),
  'P-DATA of 4 GB': (peer) => peer.send(Buffer.from([4, 0, 0xff, 0xff, 0xff, 0xff])),
  'P-DATA without a value': (peer) => peer.send(Buffer.from([4, 0, 0, 0, 0, 0])),
  'a value that passes its PDU': (peer) => peer.send(Buffer.from([4, 0, 0, 0, 0, 8, 0, 0, 0, 9, 1, 3, 0, 0])),
  'a second A-ASSOCIATE-RQ': (peer) => peer.send(associateRequest(CONTEXTS)),
  'an A-ASSOCIATE-AC': (peer) => {
    const pdu = associateRequest(CONTEXTS);
    pdu[0] = ACCEPT;
    peer.send(pdu);
  },
  'an A-ASSOCIATE-RJ': (peer) => peer.send(Buffer.from([REJECT, 0, 0, 0, 0, 4, 0, 1, 1, 1])),
  'a release response that nobody asked for': (peer) =>
    peer.send(Buffer.from([RELEASE_RESPONSE, 0, 0, 0, 0, 4, 0, 0, 0, 0])),
};

for (const [what, script] of Object.entries(wrong)) {
  test(`${what}: aborted`, async () => {
    const peer = await BadPeer.associate(server.dicomPort);
    script(peer);
    await isAborted(peer);
    peer.destroy();
  });
}

const first: Readonly<Record<string, Buffer>> = {
  'P-DATA before an association': echoRequest(),
  'a release before an association': RELEASE,
  'an abort before an association': Buffer.from([7, 0, 0, 0, 0, 4, 0, 0, 0, 0]),
  HTTP: Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
  TLS: Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
  'an associate of 2 GB': Buffer.from([1, 0, 0x7f, 0xff, 0xff, 0xff]),
  '16,384 contexts': associateRequest(
    Array.from({ length: 16_384 }, (_, index) => proposed((index * 2 + 1) % 256, '1.2.840.10008.1.1', ['1.2'])),
  ),
  'one context twice': associateRequest([proposed(1, '1.2', ['1.2']), proposed(1, '1.3', ['1.2'])]),
  'an even context': associateRequest([proposed(2, '1.2', ['1.2'])]),
  'an item that passes the end': associateRequest([Buffer.from([0x20, 0, 0xff, 0xff])]),
  'a maximum PDU of 1': associateRequest(CONTEXTS, { maximum: 1 }),
};

for (const [what, bytes] of Object.entries(first)) {
  test(`${what}: ended without an association`, async () => {
    const peer = await BadPeer.connect(server.dicomPort);
    peer.send(bytes);
    const types = await peer.ending();
    assert.ok(
      types.every((type) => type === ABORT),
      String(types),
    );
    peer.destroy();
  });
}

test('after all of that others are served', others);

test('silence ends a connection before its association, after it, and in the middle of a data set', async () => {
  const began = Date.now();
  const mute = await BadPeer.connect(server.dicomPort);
  const idle = await BadPeer.associate(server.dicomPort);
  const half = await BadPeer.associate(server.dicomPort);
  half.send(storeRequest(newUid()), fragment(3, false, false, Buffer.alloc(1000)));
  const cut = await BadPeer.connect(server.dicomPort);
  cut.send(associateRequest(CONTEXTS).subarray(0, 100));
  assert.deepEqual(await mute.ending(), []);
  assert.deepEqual(await idle.ending(), [ABORT]);
  assert.deepEqual(await half.ending(), [ABORT]);
  assert.deepEqual(await cut.ending(), []);
  assert.ok(Date.now() - began > 1500 && Date.now() - began < 8000, `${Date.now() - began} ms`);
  await others();
});

test('a command and a data set in many fragments, empty ones among them, byte by byte', async () => {
  const peer = await BadPeer.associate(server.dicomPort);
  const sopUid = newUid();
  const dataSet = dataSetOf(sopUid);
  const set = encodeCommand(
    {
      CommandField: 1,
      MessageID: 9,
      AffectedSOPClassUID: '1.2.840.10008.5.1.4.1.1.2',
      AffectedSOPInstanceUID: sopUid,
    },
    true,
  );
  const parts: Buffer[] = [];
  for (let at = 0; at < set.length; at += 7) {
    parts.push(fragment(3, true, at + 7 >= set.length, set.subarray(at, at + 7)));
    if (at === 0) parts.push(...Array.from({ length: 50 }, () => fragment(3, true, false, Buffer.alloc(0))));
  }
  for (let at = 0; at < dataSet.length; at += 101) {
    parts.push(fragment(3, false, false, dataSet.subarray(at, at + 101)));
    parts.push(fragment(3, false, false, Buffer.alloc(0)));
  }
  // The last fragment may be empty.
  parts.push(fragment(3, false, true, Buffer.alloc(0)));
  await peer.drip(Buffer.concat(parts));
  const response = await peer.response();
  assert.equal(response.Status, 0, response.ErrorComment);
  assert.equal(response.MessageIDBeingRespondedTo, 9);
  const [id] = (await (
    await fetch(`${server.url}/tools/lookup`, { method: 'POST', body: sopUid })
  ).json()) as readonly { ID: string }[];
  const file = Buffer.from(await (await fetch(`${server.url}/instances/${id?.ID}/file`)).arrayBuffer());
  assert.deepEqual(file.subarray(file.length - dataSet.length), dataSet);
  peer.send(RELEASE);
  assert.deepEqual(await peer.ending(), [RELEASE_RESPONSE]);
});

test('empty fragments without end are ended', async () => {
  const peer = await BadPeer.associate(server.dicomPort);
  const empty = Buffer.concat(Array.from({ length: 1000 }, () => fragment(1, true, false, Buffer.alloc(0))));
  peer.send(empty.subarray(0, 200 * 12), echoRequest());
  assert.equal((await peer.response()).Status, 0);
  peer.send(empty);
  assert.deepEqual(await peer.ending(), [ABORT]);
  // In a data set as well, between fragments that are not last.
  const storing = await BadPeer.associate(server.dicomPort);
  const hollow = Buffer.concat(Array.from({ length: 1000 }, () => fragment(3, false, false, Buffer.alloc(0))));
  storing.send(storeRequest(newUid()), fragment(3, false, false, Buffer.alloc(100)), hollow);
  assert.deepEqual(await storing.ending(), [ABORT]);
  await others();
});

test('requests that come together with the release are answered before it', async () => {
  const peer = await BadPeer.associate(server.dicomPort);
  const sopUid = newUid();
  const data = fragment(3, false, true, dataSetOf(sopUid));
  peer.send(Buffer.concat([echoRequest(1), storeRequest(sopUid), data, echoRequest(2), RELEASE]));
  assert.deepEqual(
    [await peer.response(), await peer.response(), await peer.response()].map(({ CommandField, Status }) => [
      CommandField,
      Status,
    ]),
    [
      [0x8030, 0],
      [0x8001, 0],
      [0x8030, 0],
    ],
  );
  assert.deepEqual(await peer.ending(), [RELEASE_RESPONSE]);
});

test('a data set that nothing takes is kept up to a bound only', async () => {
  const peer = await BadPeer.associate(server.dicomPort);
  // N-SET, which nothing here answers.
  peer.send(command(1, { CommandField: 0x120, MessageID: 1, RequestedSOPClassUID: '1.2' }, true));
  const part = fragment(1, false, false, Buffer.alloc(16_000));
  let sent = 0;
  while (sent < 40 << 20 && !peer.socket.destroyed) {
    peer.send(part);
    sent += part.length;
    if (sent % (64 * part.length) === 0) await sleep(1);
  }
  assert.ok((await peer.ending()).every((type) => type === ABORT));
  await others();
});

test('a request that no service answers is answered so, and the association goes on', async () => {
  const peer = await BadPeer.associate(server.dicomPort);
  peer.send(command(1, { CommandField: 0x120, MessageID: 3, RequestedSOPClassUID: '1.2' }, true));
  peer.send(fragment(1, false, true, Buffer.alloc(100)));
  const response = await peer.response();
  assert.deepEqual([response.CommandField, response.MessageIDBeingRespondedTo, response.Status], [0x8120, 3, 0x0211]);
  // A cancel of nothing, and a response to nothing, are passed over.
  peer.send(command(1, { CommandField: 0x0fff, MessageIDBeingRespondedTo: 77 }, false));
  peer.send(command(1, { CommandField: 0x8030, MessageIDBeingRespondedTo: 77, Status: 0 }, false));
  peer.send(echoRequest(4));
  assert.equal((await peer.response()).MessageIDBeingRespondedTo, 4);
  peer.destroy();
});

test('whoever leaves in the middle of a data set leaves nothing behind, a thousand times', async () => {
  const before = await stored();
  for (let round = 0; round < 20; round++) {
    const peers = await Promise.all(Array.from({ length: 50 }, () => BadPeer.associate(server.dicomPort)));
    for (const [index, peer] of peers.entries()) {
      peer.send(storeRequest(newUid()), fragment(3, false, false, Buffer.alloc(12_000)));
      if (index % 3 === 0) peer.send(Buffer.from([4, 0, 0, 0, 0x10, 0, 0, 0, 0x0f, 0xfc, 3, 0, 1, 2, 3]));
      if (index % 3 === 1) peer.send(RELEASE);
      if (index % 3 === 2) peer.send(Buffer.from([7, 0, 0, 0, 0, 4, 0, 0, 0, 0]));
    }
    await sleep(5);
    for (const peer of peers) peer.destroy();
  }
  assert.equal(await stored(), before);
  await others();
});

test('a peer that asks and does not read is not answered without end', async () => {
  const peer = await BadPeer.associate(server.dicomPort);
  peer.socket.pause();
  const many = Buffer.concat(Array.from({ length: 1000 }, (_, index) => echoRequest(index + 1)));
  const before = process.memoryUsage().rss;
  let over = false;
  void peer.closed.then(() => (over = true));
  let sent = 0;
  const deadline = Date.now() + 12_000;
  while (!over && Date.now() < deadline) {
    if (peer.socket.writableLength < 1 << 20) {
      peer.send(many);
      sent += 1000;
    }
    await sleep(1);
    if (sent > 200_000) peer.socket.resume();
  }
  assert.ok(process.memoryUsage().rss - before < 256 << 20);
  peer.destroy();
  await others();
});

test('the stalled lose their memory to those who wait for it', { timeout: 60_000 }, async () => {
  const patient = await serve({
    DicomServerEnabled: true,
    DicomPort: 0,
    DicomScpTimeout: 30,
    MaximumInFlightMB: 64,
  });
  try {
    // 64 MB are 32 slabs, and large buffers.
    const stalled = await Promise.all(Array.from({ length: 32 }, () => BadPeer.associate(patient.dicomPort)));
    for (const peer of stalled) peer.send(storeRequest(newUid()), fragment(3, false, false, Buffer.alloc(100)));
    await sleep(200);
    const sopUid = newUid();
    const honest = await BadPeer.associate(patient.dicomPort);
    const began = Date.now();
    honest.send(storeRequest(sopUid), fragment(3, false, true, dataSetOf(sopUid)));
    assert.equal((await honest.response()).Status, 0);
    assert.ok(Date.now() - began < 10_000);
    for (const peer of stalled) peer.send(fragment(3, false, true, Buffer.alloc(2)));
    const statuses = await Promise.all(stalled.map(async (peer) => (await peer.response()).Status));
    assert.ok(statuses.includes(0xa700), 'somebody lost his memory');
    assert.ok(statuses.every((status) => status === 0xa700 || status === 0xc000));
    for (const peer of [...stalled, honest]) peer.destroy();
  } finally {
    await patient.close();
  }
});

test('one association too many is rejected for now', async () => {
  const peers = await Promise.all(Array.from({ length: 128 }, () => BadPeer.associate(server.dicomPort)));
  const late = await BadPeer.connect(server.dicomPort);
  late.send(associateRequest(CONTEXTS));
  assert.deepEqual(await late.pdu(), Buffer.from([REJECT, 0, 0, 0, 0, 4, 0, 2, 3, 2]));
  for (const peer of [...peers, late]) peer.destroy();
  await sleep(50);
  await others();
});

test('another version and another application context are rejected', async () => {
  for (const [pdu, reason] of [
    [associateRequest(CONTEXTS, { application: '1.2.3' }), [1, 1, 2]],
    [
      ((): Buffer => {
        const request = associateRequest(CONTEXTS);
        request.writeUInt16BE(2, 6);
        return request;
      })(),
      [1, 2, 2],
    ],
  ] as const) {
    const peer = await BadPeer.connect(server.dicomPort);
    peer.send(pdu);
    assert.deepEqual(await peer.pdu(), Buffer.from([REJECT, 0, 0, 0, 0, 4, 0, ...reason]));
    peer.destroy();
  }
});
