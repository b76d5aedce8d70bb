/** Owns the proof that plain C-STORE requests are read in whatever pieces they come, and that everything else is left as it came. */

import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { test } from 'node:test';
import { COMMAND, decodeCommand, encodeCommand } from '../../src/dicom/command.ts';
import { PduReader, RELEASE_REQUEST } from '../../src/dicom/pdu.ts';
import { headOf } from '../../src/dicom/received-file.ts';
import { type Reached, responsePdu, StoreReader, storeResponse } from '../../src/dicom/store-requests.ts';
import { command, fragment } from '../scp/bad-peer.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const EXPLICIT = '1.2.840.10008.1.2.1';
const CONTEXT = { id: 3, abstractSyntax: CT, transferSyntax: EXPLICIT };
const MAXIMUM = 16384;
const MEMORY = 100_000;

const request = (uid: string, values: object = {}): Buffer =>
  command(
    3,
    { CommandField: 1, MessageID: 7, Priority: 0, AffectedSOPClassUID: CT, AffectedSOPInstanceUID: uid, ...values },
    true,
  );

/** A data set in fragments of at most so many bytes. */
function fragments(dataSet: Buffer, most = MAXIMUM - 6): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < dataSet.length; at += most)
    parts.push(fragment(3, false, at + most >= dataSet.length, dataSet.subarray(at, at + most)));
  return Buffer.concat(parts);
}

const newReader = (): StoreReader =>
  new StoreReader({ contexts: [CONTEXT], memory: Buffer.alloc(MEMORY), maximumPdu: MAXIMUM, callingAet: 'CT1' });

const head = (uid: string): Buffer =>
  headOf(CONTEXT, { CommandField: 1, AffectedSOPClassUID: CT, AffectedSOPInstanceUID: uid }, 'CT1');

/** Reads bytes in pieces of these sizes, over and over, as far as a request is whole or something else comes; what is left of them. */
function readIn(reader: StoreReader, bytes: Buffer, sizes: () => number): { reached: Reached; left: Buffer } {
  let reached: Reached = 'more';
  let at = 0;
  while (at < bytes.length && reached === 'more') {
    const size = Math.min(sizes(), bytes.length - at);
    // Memory that is read into again, as that of a socket is.
    const piece = Buffer.from(bytes.subarray(at, at + size));
    reached = reader.read(piece);
    piece.fill(0xee);
    at += size;
  }
  return { reached, left: bytes.subarray(at) };
}

/** What the reader of everything makes of bytes: command and data set of each message, and other PDUs by name. */
function readWhole(bytes: Buffer): unknown[] {
  const heard: unknown[] = [];
  let parts: Buffer[] = [];
  const reader = new PduReader(MAXIMUM, {
    paused: false,
    pdu: (name) => heard.push(name),
    data() {},
    fragment(id, isCommand, last, part, ended) {
      parts.push(Buffer.from(part));
      if (!last || !ended) return;
      const all = Buffer.concat(parts);
      parts = [];
      heard.push([id, isCommand ? decodeCommand(all).command : all.toString('hex')]);
    },
  });
  assert.equal(reader.read(bytes, 0), bytes.length);
  return heard;
}

test('requests are read in whatever pieces they come, one after the other', () => {
  for (let round = 0; round < 60; round += 1) {
    const sets = Array.from({ length: 4 }, () => randomBytes(2 * randomInt(1, 25_000)));
    const most = 2 * randomInt(50, MAXIMUM / 2 - 3);
    const stream = Buffer.concat(sets.flatMap((set, at) => [request(`1.2.${at}`), fragments(set, most)]));
    const reader = newReader();
    let left: Buffer = stream;
    const sizes = round === 0 ? () => 1 : () => randomInt(1, round % 2 === 0 ? 300 : 40_000);
    let reached: Reached = 'more';
    for (const [at, set] of sets.entries()) {
      if (reached === 'more') ({ reached, left } = readIn(reader, left, sizes));
      assert.equal(reached, 'whole');
      const { bytes, start, context, command: asked } = reader.request;
      const expected = head(`1.2.${at}`);
      assert.ok(bytes.equals(Buffer.concat([expected, set])));
      assert.deepEqual([start, context, asked.AffectedSOPInstanceUID], [expected.length, CONTEXT, `1.2.${at}`]);
      reached = reader.next();
    }
    assert.equal(reached, 'more');
    assert.equal(reader.isBusy, false);
    assert.equal(reader.unread().length, 0);
  }
});

test('whoever goes on from where it is, wherever that is, reads the same', () => {
  const set = randomBytes(40_000);
  const stream = Buffer.concat([request('1.2.1'), fragments(set, 9000), RELEASE_REQUEST]);
  const expected = readWhole(stream);
  assert.equal(expected.length, 3);
  const places = [
    ...Array.from({ length: 200 }, (_, at) => at),
    ...Array.from({ length: 300 }, () => randomInt(stream.length)),
  ];
  for (const place of [...places, stream.length]) {
    const reader = newReader();
    const { left } = readIn(reader, stream.subarray(0, place), () => randomInt(1, 20_000));
    assert.deepEqual(
      readWhole(Buffer.concat([reader.unread(), left, stream.subarray(place)])),
      expected,
      `from ${place}`,
    );
  }
});

test('what is not plain is left as it came, and what came before it is not lost', () => {
  const set = randomBytes(3000);
  const plain = [request('1.2.1'), fragments(set)];
  const asked = encodeCommand(
    { CommandField: 1, MessageID: 7, AffectedSOPClassUID: CT, AffectedSOPInstanceUID: '1.2.1' },
    true,
  );
  const twoValues = Buffer.concat([fragment(3, false, false, set), fragment(3, false, true, set).subarray(6)]);
  twoValues.writeUInt32BE(twoValues.length - 6, 2);
  const others: Readonly<Record<string, readonly Buffer[]>> = {
    'a release': [Buffer.from(RELEASE_REQUEST)],
    'another type of PDU': [Buffer.from([9, 0, 0, 0, 0, 4, 0, 0, 0, 0])],
    'another context': [command(1, { CommandField: COMMAND['C-ECHO-RQ'], MessageID: 1 }, false)],
    'another command': [request('1.2.1', { CommandField: COMMAND['C-FIND-RQ'] })],
    'another SOP class': [request('1.2.1', { AffectedSOPClassUID: '1.2.3' })],
    'a UID that is none': [request('1.2.x')],
    'a command without a data set': [command(3, { CommandField: 1, MessageID: 7, AffectedSOPClassUID: CT }, false)],
    'a command in two fragments': [
      fragment(3, true, false, asked.subarray(0, 20)),
      fragment(3, true, true, asked.subarray(20)),
    ],
    'a command that is none': [fragment(3, true, true, randomBytes(100))],
    'a large command': [fragment(3, true, true, Buffer.alloc(2000))],
    'a data set without a command': [fragments(set)],
    'a command in the data set': [request('1.2.1'), request('1.2.1')],
    'a fragment of another context': [request('1.2.1'), fragment(5, false, true, set)],
    'an empty fragment': [request('1.2.1'), fragment(3, false, false, Buffer.alloc(0)), fragments(set)],
    'two values in a PDU': [request('1.2.1'), twoValues],
    'a PDU that is too large': [request('1.2.1'), fragment(3, false, true, Buffer.alloc(MAXIMUM))],
    'a file that is too large': [request('1.2.1'), fragments(randomBytes(MEMORY))],
  };
  for (const [what, odd] of Object.entries(others)) {
    for (const before of [[], plain]) {
      const stream = Buffer.concat([...before, ...odd]);
      const reader = newReader();
      let { reached, left } = readIn(reader, stream, () => randomInt(1, 5000));
      if (before.length > 0) {
        assert.equal(reached, 'whole', what);
        reached = reader.next();
        if (reached === 'more') ({ reached, left } = readIn(reader, left, () => randomInt(1, 5000)));
      }
      assert.equal(reached, 'other', what);
      const rest = Buffer.concat([reader.unread(), left]);
      const original = Buffer.concat(odd);
      // A PDU that breaks a rule is as it was; the bytes of a begun data set may be cut otherwise.
      if (what === 'a PDU that is too large' || odd.length === 1) assert.ok(rest.equals(original), what);
      else assert.deepEqual(readWhole(rest), readWhole(original), what);
    }
  }
});

test('a response is a PDU of its own, of what was asked', () => {
  const asked = { CommandField: 1, MessageID: 7, AffectedSOPClassUID: CT, AffectedSOPInstanceUID: '1.2.1' };
  const pdu = responsePdu(3, storeResponse(CT, asked, 0));
  assert.deepEqual(readWhole(pdu), [
    [
      3,
      {
        CommandField: 0x8001,
        MessageIDBeingRespondedTo: 7,
        AffectedSOPClassUID: CT,
        AffectedSOPInstanceUID: '1.2.1',
        Status: 0,
      },
    ],
  ]);
});
