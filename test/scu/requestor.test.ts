/** Owns associations that we ask for: with DCMTK's storescp, and with peers that reject, lie, fall silent or release when they like. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Command, encodeCommand } from '../../src/dicom/command.ts';
import { readFile } from '../../src/dicom/read.ts';
import { IsenError } from '../../src/errors.ts';
import type { Association, AssociationRequest, DataSink } from '../../src/scu/association.ts';
import { requestAssociation } from '../../src/scu/requestor.ts';
import { accepted, associateAccept, role } from '../dicom/associate.ts';
import { make } from '../dicom/made.ts';
import { freePort, temporaryFolder, without } from '../peer.ts';
import { CT_IMAGE_STORAGE, command, fragment, VERIFICATION } from '../scp/bad-peer.ts';
import { startProgram, stopPrograms } from '../scp/programs.ts';

after(stopPrograms);

const EXPLICIT = '1.2.840.10008.1.2.1';
const RELEASE_REQUEST = Buffer.from([5, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
const RELEASE_RESPONSE = Buffer.from([6, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
const ABORT = Buffer.from([7, 0, 0, 0, 0, 4, 0, 0, 0, 0]);

const request = (port: number, more: Partial<AssociationRequest> = {}): AssociationRequest => ({
  host: '127.0.0.1',
  port,
  callingAet: 'US',
  calledAet: 'PEER',
  contexts: [
    { abstractSyntax: VERIFICATION, transferSyntaxes: [EXPLICIT] },
    { abstractSyntax: CT_IMAGE_STORAGE, transferSyntaxes: [EXPLICIT] },
  ],
  patience: 1000,
  maximumPdu: 16384,
  ...more,
});

const ECHO: Command = { CommandField: 0x30, MessageID: 1, AffectedSOPClassUID: VERIFICATION };

function contextOf(association: Association, abstractSyntax: string) {
  const context = association.contexts.find((each) => each.abstractSyntax === abstractSyntax);
  assert.ok(context !== undefined);
  return context;
}

/** A server that plays a script on each PDU that comes: by its type, what is sent back. */
async function scripted(
  script: (type: number, socket: Socket, pdu: Buffer) => void,
): Promise<{ port: number; seen: number[]; close(): void }> {
  const seen: number[] = [];
  const sockets: Socket[] = [];
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.push(socket);
    let bytes = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 6 && bytes.length >= 6 + bytes.readUInt32BE(2)) {
        const pdu = bytes.subarray(0, 6 + bytes.readUInt32BE(2));
        bytes = bytes.subarray(pdu.length);
        seen.push(pdu[0] ?? 0);
        script(pdu[0] ?? 0, socket, pdu);
      }
    });
  });
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
  return {
    port,
    seen,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** Accepts both contexts, then plays on. */
const accepting =
  (
    script: (type: number, socket: Socket) => void,
    pdu = associateAccept([accepted(1, 0, EXPLICIT), accepted(3, 0, EXPLICIT)]),
  ) =>
  (type: number, socket: Socket): void => {
    if (type === 1) socket.write(pdu);
    else script(type, socket);
  };

async function eventually(what: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 5000; !what() && Date.now() < deadline; ) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(what());
}

const fails = (code: string, text: RegExp) => (thrown: unknown) =>
  thrown instanceof IsenError && thrown.code === code && text.test(thrown.message);

test('storescp: echo, and instances of several sizes, byte for byte, at whatever PDU size it takes', {
  skip: without('storescp'),
  timeout: 30_000,
}, async () => {
  for (const size of ['4096', '16384', '131072']) {
    const folder = temporaryFolder();
    const port = await freePort();
    await startProgram('storescp', ['--max-pdu', size, '--bit-preserving', '-od', folder, String(port)], port);
    const association = await requestAssociation(request(port, { patience: 10_000 }));
    assert.equal(association.remoteIp, '127.0.0.1');
    const echo = contextOf(association, VERIFICATION);
    const ct = contextOf(association, CT_IMAGE_STORAGE);
    assert.ok(ct.scu && !ct.scp);
    await association.send(echo, { ...ECHO, MessageID: association.nextMessageId() });
    assert.equal((await association.receive())?.command.Status, 0);
    for (const [index, rows] of [1, 40, 91, 300].entries()) {
      const sopUid = `2.25.79.${size}.${index}`;
      const whole = make({ sopUid, rows, columns: 911 });
      const dataSet = whole.subarray(132 + 12 + whole.readUInt32LE(140));
      const parts = index % 2 === 0 ? [dataSet] : [dataSet.subarray(0, 777), dataSet.subarray(777)];
      const id = association.nextMessageId();
      await association.send(
        ct,
        {
          CommandField: 1,
          MessageID: id,
          Priority: 0,
          AffectedSOPClassUID: CT_IMAGE_STORAGE,
          AffectedSOPInstanceUID: sopUid,
        },
        parts,
      );
      const response = await association.receive();
      assert.deepEqual([response?.command.Status, response?.command.MessageIDBeingRespondedTo], [0, id]);
      const [name] = readdirSync(folder).filter((each) => each.endsWith(sopUid));
      const stored = readFileSync(join(folder, name ?? ''));
      assert.ok(stored.subarray(stored.length - dataSet.length).equals(dataSet), sopUid);
      assert.equal(readFile(stored).transferSyntax, EXPLICIT);
    }
    await association.release();
    assert.ok(association.ended.aborted);
    await assert.rejects(association.send(echo, ECHO), fails('NetworkProtocol', /released/));
    assert.equal(await association.receive(), undefined);
  }
});

test('nobody there, and somebody who says nothing', async () => {
  await assert.rejects(requestAssociation(request(await freePort())), fails('NetworkProtocol', /Connection refused/));
  const mute = await scripted(() => {});
  const began = Date.now();
  await assert.rejects(requestAssociation(request(mute.port)), fails('Timeout', /said nothing/));
  assert.ok(Date.now() - began < 3000);
  await eventually(() => mute.seen.includes(7));
  mute.close();
});

test('a rejection is told in its words', async () => {
  const peer = await scripted((_type, socket) => socket.write(Buffer.from([3, 0, 0, 0, 0, 4, 0, 1, 1, 7])));
  await assert.rejects(
    requestAssociation(request(peer.port)),
    fails('NetworkProtocol', /called AE title not recognized/),
  );
  peer.close();
});

test('an answer that accepts what was not asked for, or is malformed, is aborted', async () => {
  const answers: Readonly<Record<string, Buffer>> = {
    'another syntax': associateAccept([accepted(1, 0, '1.2.3')]),
    'another context': associateAccept([accepted(99, 0, EXPLICIT)]),
    'a context twice': associateAccept([accepted(1, 0, EXPLICIT), accepted(1, 0, EXPLICIT)]),
    'a lying item': associateAccept([Buffer.from([0x21, 0, 0xff, 0xff])]),
    'a tiny maximum': associateAccept([accepted(1, 0, EXPLICIT)], { maximum: 12 }),
    'no answer but data': fragment(1, true, true, encodeCommand(ECHO, false)),
    'a release': RELEASE_REQUEST,
    'a PDU of type 9': Buffer.from([9, 0, 0, 0, 0, 0]),
  };
  for (const [what, answer] of Object.entries(answers)) {
    const peer = await scripted((type, socket) => {
      if (type === 1) socket.write(answer);
    });
    await assert.rejects(requestAssociation(request(peer.port)), fails('NetworkProtocol', /./), what);
    await eventually(() => peer.seen.includes(7));
    peer.close();
  }
});

test('contexts in any order, roles, and what was refused', async () => {
  const pdu = associateAccept(
    [accepted(5, 0, EXPLICIT), accepted(3, 4, undefined), accepted(1, 0, '1.2.840.10008.1.2')],
    {
      more: [role('1.2.3', 0, 1)],
    },
  );
  const peer = await scripted(accepting(() => {}, pdu));
  const association = await requestAssociation(
    request(peer.port, {
      contexts: [
        { abstractSyntax: VERIFICATION, transferSyntaxes: [EXPLICIT, '1.2.840.10008.1.2'], role: 'both' },
        { abstractSyntax: CT_IMAGE_STORAGE, transferSyntaxes: [EXPLICIT] },
        { abstractSyntax: '1.2.3', transferSyntaxes: [EXPLICIT], role: 'scp' },
      ],
    }),
  );
  assert.deepEqual(association.contexts, [
    // Asked for both roles, and not answered: the default ones.
    { id: 1, abstractSyntax: VERIFICATION, transferSyntax: '1.2.840.10008.1.2', scu: true, scp: false },
    { id: 5, abstractSyntax: '1.2.3', transferSyntax: EXPLICIT, scu: false, scp: true },
  ]);
  association.abort();
  assert.ok(association.ended.aborted);
  await eventually(() => peer.seen.includes(7));
  peer.close();
});

test('more than 128 contexts, and none, are refused before anybody is called', async () => {
  const context = { abstractSyntax: VERIFICATION, transferSyntaxes: [EXPLICIT] };
  for (const contexts of [[], Array.from({ length: 129 }, () => context)]) {
    await assert.rejects(requestAssociation(request(1, { contexts })), fails('ParameterOutOfRange', /contexts/));
  }
});

test('silence in the place of a response ends the association', async () => {
  const peer = await scripted(accepting(() => {}));
  const association = await requestAssociation(request(peer.port));
  await association.send(contextOf(association, VERIFICATION), ECHO);
  await assert.rejects(association.receive(300), fails('Timeout', /said nothing/));
  assert.ok(association.ended.aborted);
  await eventually(() => peer.seen.includes(7));
  peer.close();
});

test('an abort, and a connection that is lost, fail whoever waits', async () => {
  for (const end of [(socket: Socket) => socket.write(ABORT), (socket: Socket) => socket.destroy()]) {
    const peer = await scripted(accepting((type, socket) => void (type === 4 && end(socket))));
    const association = await requestAssociation(request(peer.port));
    await association.send(contextOf(association, VERIFICATION), ECHO);
    await assert.rejects(association.receive(), fails('NetworkProtocol', /abort|lost|closed/));
    await association.release();
    peer.close();
  }
});

test('a peer that releases is answered, and whoever waits learns that nothing comes', async () => {
  const peer = await scripted(accepting((type, socket) => void (type === 4 && socket.write(RELEASE_REQUEST))));
  const association = await requestAssociation(request(peer.port));
  await association.send(contextOf(association, VERIFICATION), ECHO);
  assert.equal(await association.receive(), undefined);
  await eventually(() => peer.seen.includes(6));
  await association.release();
  peer.close();
});

test('a release that crosses the peer’s, and one that is not answered', async () => {
  // PS3.8 §9.2.3: as requestor, we answer first, then await the answer.
  const crossing = await scripted(
    accepting((type, socket) => {
      if (type === 5) socket.write(RELEASE_REQUEST);
      if (type === 6) socket.write(RELEASE_RESPONSE);
    }),
  );
  const association = await requestAssociation(request(crossing.port));
  await association.release();
  await eventually(() => crossing.seen.includes(6));
  assert.ok(!crossing.seen.includes(7));
  crossing.close();

  const silent = await scripted(accepting(() => {}));
  const other = await requestAssociation(request(silent.port));
  const began = Date.now();
  await other.release();
  assert.ok(Date.now() - began < 4000);
  await eventually(() => silent.seen.includes(7));
  silent.close();
});

test('a peer that stops reading does not hold a sender for ever, and memory stays bounded', async () => {
  const peer = await scripted(
    accepting(
      (type, socket) => void (type === 4 && socket.pause()),
      associateAccept([accepted(3, 0, EXPLICIT)], { maximum: 0 }),
    ),
  );
  const association = await requestAssociation(request(peer.port, { patience: 500 }));
  let made = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) {
      made += 1;
      yield Buffer.alloc(64 << 10);
    }
  }
  await assert.rejects(
    association.send(contextOf(association, CT_IMAGE_STORAGE), { CommandField: 1, MessageID: 1 }, endless()),
    fails('Timeout', /does not take/),
  );
  assert.ok(made < 1000, `${made} parts were read ahead`);
  peer.close();
});

test('a data set that fails in the middle ends the association: half of it is on its way', async () => {
  const peer = await scripted(accepting(() => {}));
  const association = await requestAssociation(request(peer.port));
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(100_000);
    throw new Error('the disk is gone');
  }
  await assert.rejects(
    association.send(contextOf(association, CT_IMAGE_STORAGE), { CommandField: 1, MessageID: 1 }, failing()),
    /the disk is gone/,
  );
  assert.ok(association.ended.aborted);
  await eventually(() => peer.seen.includes(7));
  peer.close();
});

test('requests of the peer: a sink takes their data set and holds it up; one that fails is heard of; messages do not mix', async () => {
  const set = { CommandField: 1, AffectedSOPClassUID: CT_IMAGE_STORAGE, AffectedSOPInstanceUID: '1.2' };
  const body = Buffer.from('0123456789'.repeat(3000), 'latin1');
  const store = (id: number): Buffer =>
    Buffer.concat([
      command(3, { ...set, MessageID: id }, true),
      fragment(3, false, false, body.subarray(0, 16_000)),
      fragment(3, false, true, body.subarray(16_000)),
    ]);
  const peer = await scripted(
    accepting((type, socket) => void (type === 4 && socket.write(Buffer.concat([store(1), store(2), store(3)])))),
  );
  const taken: Buffer[][] = [];
  let writing = 0;
  const association = await requestAssociation(
    request(peer.port, {
      sink(_context, { MessageID }): DataSink | undefined {
        if (MessageID === 3) return undefined;
        const parts: Buffer[] = [];
        taken.push(parts);
        return {
          async write(part) {
            assert.equal(writing, 0, 'a part came before the last was taken');
            writing += 1;
            parts.push(Buffer.from(part));
            await new Promise((resolve) => setTimeout(resolve, 20));
            writing -= 1;
            if (MessageID === 2) throw new Error('no room');
          },
          abandon() {},
        };
      },
    }),
  );
  await association.send(contextOf(association, VERIFICATION), ECHO);
  const [first, second, third] = [
    await association.receive(),
    await association.receive(),
    await association.receive(),
  ];
  assert.deepEqual(Buffer.concat(taken[0] ?? []), body);
  assert.equal(first?.dataSet, undefined);
  assert.equal(second?.command.MessageID, 2);
  // After the failure nothing more was written, and the message came all the same.
  assert.equal(taken[1]?.length, 1);
  assert.deepEqual(Buffer.from(third?.dataSet ?? []), body);
  assert.equal(third?.sink, undefined);
  association.abort();
  peer.close();
});

test('message ids go round, never to 0', async () => {
  const peer = await scripted(accepting(() => {}));
  const association = await requestAssociation(request(peer.port));
  const ids = Array.from({ length: 65_537 }, () => association.nextMessageId());
  assert.deepEqual([ids[0], ids[65_534], ids[65_535], ids[65_536]], [1, 65_535, 1, 2]);
  association.abort();
  peer.close();
});
