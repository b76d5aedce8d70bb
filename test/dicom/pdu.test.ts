/** Owns the framing of PDUs: in whatever pieces they come, and what is refused before anything is kept. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  abortPdu,
  checkAssociate,
  dataHeader,
  describeRejection,
  MAXIMUM_ASSOCIATE,
  PduFault,
  PduReader,
  type PduReceiver,
  REJECTION,
  type Rejection,
  RELEASE_REQUEST,
  rejectPdu,
} from '../../src/dicom/pdu.ts';
import { accepted, associateAccept, associateRequest, item, proposed, userItem } from './associate.ts';

const isFault = (thrown: unknown): boolean => thrown instanceof PduFault;

/** Everything that a reader told, as text; it pauses after each telling when `stops`. */
class Told implements PduReceiver {
  readonly lines: string[] = [];
  paused = false;
  readonly #stops: boolean;
  #fragment = '';

  constructor(stops = false) {
    this.#stops = stops;
  }

  #tell(line: string): void {
    this.lines.push(line);
    this.paused = this.#stops;
  }

  pdu(name: string, bytes: Buffer): void {
    this.#tell(`${name} ${bytes.length}`);
  }

  data(): void {
    this.#tell('data');
  }

  fragment(id: number, isCommand: boolean, last: boolean, part: Buffer, ended: boolean): void {
    this.#fragment += part.toString('latin1');
    if (!ended) return;
    this.#tell(`${id} ${isCommand ? 'command' : 'data set'}${last ? ' last' : ''} ${this.#fragment}`);
    this.#fragment = '';
  }
}

const data = (...values: readonly Buffer[]): Buffer => {
  const all = Buffer.concat(values);
  const head = Buffer.from([4, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(all.length, 2);
  return Buffer.concat([head, all]);
};
const value = (id: number, control: number, text: string, length = text.length + 2): Buffer => {
  const head = Buffer.alloc(6);
  head.writeUInt32BE(length, 0);
  head[4] = id;
  head[5] = control;
  return Buffer.concat([head, Buffer.from(text, 'latin1')]);
};

const STREAM = Buffer.concat([
  RELEASE_REQUEST,
  data(value(1, 1, 'half a '), value(1, 3, 'command')),
  data(value(1, 0, 'some'), value(1, 0, ''), value(1, 2, '')),
  associateRequest([proposed(1, '1.2.3', ['1.2.4'])]),
  abortPdu('user', 'not specified'),
]);
const LINES = [
  'A-RELEASE-RQ 10',
  'data',
  '1 command half a ',
  '1 command last command',
  'data',
  '1 data set some',
  '1 data set ',
  '1 data set last ',
  'A-ASSOCIATE-RQ 148',
  'A-ABORT 10',
];

test('a stream reads the same in pieces of any size, and when the receiver stops after every telling', () => {
  for (let size = 1; size <= STREAM.length; size += size < 20 ? 1 : 13) {
    for (const stops of [false, true]) {
      const told = new Told(stops);
      const reader = new PduReader(16384, told);
      for (let at = 0; at < STREAM.length; at += size) {
        const piece = STREAM.subarray(at, at + size);
        for (let read = 0; read < piece.length; ) {
          told.paused = false;
          read = reader.read(piece, read);
        }
      }
      assert.deepEqual(told.lines, LINES, `pieces of ${size}`);
    }
  }
});

test('lengths that lie are refused at the header, before the bytes that they promise', () => {
  const header = (type: number, length: number): Buffer => {
    const bytes = Buffer.from([type, 0, 0, 0, 0, 0]);
    bytes.writeUInt32BE(length, 2);
    return bytes;
  };
  const bad: Readonly<Record<string, Buffer>> = {
    'P-DATA larger than announced': header(4, 16385),
    'P-DATA of 4 GB': header(4, 0xffffffff),
    'P-DATA without a value': header(4, 0),
    'P-DATA with half a value': header(4, 5),
    'an associate of 2 GB': header(1, 0x7fffffff),
    'an associate too large by one': header(1, MAXIMUM_ASSOCIATE + 1),
    'an associate too short': header(1, 67),
    'an accept too short': header(2, 0),
    'a reject of 5': header(3, 5),
    'a release of 0': header(5, 0),
    'a release response of 8': header(6, 8),
    'an abort of 64 KB': header(7, 65536),
    'type 0': Buffer.from([0]),
    'type 8': Buffer.from([8]),
    HTTP: Buffer.from('GET'),
    'a value past its PDU': data(value(1, 3, 'abcd', 7)),
    'a value of 1': data(value(1, 3, '', 1)),
    'a value of 4 GB': data(value(1, 3, 'abcd', 0xffffffff)),
    'bytes left over': data(value(1, 3, 'abcd'), Buffer.alloc(5)),
  };
  for (const [what, bytes] of Object.entries(bad)) {
    assert.throws(() => new PduReader(16384, new Told()).read(bytes, 0), isFault, what);
  }
});

test('a header of P-DATA is what the reader reads', () => {
  const told = new Told();
  const part = Buffer.from('abcdef');
  new PduReader(100, told).read(Buffer.concat([dataHeader(129, false, true, part.length), part]), 0);
  assert.deepEqual(told.lines, ['data', '129 data set last abcdef']);
});

test('the structure of an associate request is checked, whatever lies', () => {
  const syntaxes = ['1.2.4', '1.2.5'];
  const good = [proposed(5, '1.2.3', syntaxes), proposed(1, '1.2.6', syntaxes)];
  const check = (...items: readonly Buffer[]): ReturnType<typeof checkAssociate> =>
    checkAssociate(associateRequest(items));
  assert.equal(check(...good).refused, undefined);
  const bad: Readonly<Record<string, readonly Buffer[]>> = {
    'an even id': [proposed(2, '1.2.3', syntaxes)],
    'id 0': [proposed(0, '1.2.3', syntaxes)],
    'an id twice': [proposed(1, '1.2.3', syntaxes), proposed(1, '1.2.6', syntaxes)],
    'an item past the end': [Buffer.from([0x20, 0, 0xff, 0xff, 1, 0, 0, 0])],
    'half an item': [Buffer.from([0x20, 0])],
    'a context without syntaxes': [item(0x20, Buffer.from([1, 0, 0, 0]))],
    'a context of two bytes': [item(0x20, Buffer.from([1, 0]))],
    'an inner length past the end': [item(0x20, Buffer.from([1, 0, 0, 0, 0x30, 0, 0x7f, 0xff, 0x31]))],
    'a transfer syntax first': [item(0x20, Buffer.concat([Buffer.from([1, 0, 0, 0]), item(0x40, Buffer.from('1.2'))]))],
    'too many transfer syntaxes': [
      proposed(
        1,
        '1.2.3',
        Array.from({ length: 200 }, (_, index) => `1.${index}`),
      ),
    ],
    'user information twice': [userItem(), userItem()],
    'a maximum length of 3 bytes': [userItem(item(0x51, Buffer.alloc(3)))],
    'a window of 5 bytes': [userItem(item(0x53, Buffer.alloc(5)))],
    'a role whose UID passes its item': [userItem(item(0x54, Buffer.from([0xff, 0xff, 1, 1])))],
    'a role that is cut': [userItem(item(0x54, Buffer.from([0])))],
    'an identity that lies': [userItem(item(0x58, Buffer.from([1, 0, 0, 9, 0x41, 0, 0])))],
  };
  for (const [what, items] of Object.entries(bad)) {
    assert.throws(() => checkAssociate(associateRequest(items, { user: false })), isFault, what);
  }
});

test('contexts come out in the order of their ids, and items that nobody knows not at all', () => {
  const unknown = item(0x77, Buffer.from('anything'));
  const { pdu } = checkAssociate(
    associateRequest([proposed(5, '1.2.5', ['1.2']), unknown, proposed(1, '1.2.1', ['1.2'])]),
  );
  assert.deepEqual(
    pdu,
    checkAssociate(associateRequest([proposed(1, '1.2.1', ['1.2']), proposed(5, '1.2.5', ['1.2'])])).pdu,
  );
  assert.equal(pdu.readUInt32BE(2), pdu.length - 6);
});

test('another version and another application context are refused, not aborted', () => {
  const request = associateRequest([proposed(1, '1.2.3', ['1.2'])]);
  request.writeUInt16BE(2, 6);
  assert.equal(checkAssociate(request).refused, 'protocol version not supported');
  const context = [proposed(1, '1.2.3', ['1.2'])];
  const other = associateRequest(context, { application: '1.2.840.10008.3.1.1.2' });
  assert.equal(checkAssociate(other).refused, 'application context not supported');
});

test('an accept with a context that was not accepted may say anything about it', () => {
  assert.doesNotThrow(() => checkAssociate(associateAccept([accepted(1, 3, undefined), accepted(3, 0, '1.2')])));
  assert.throws(() => checkAssociate(associateAccept([accepted(1, 0, undefined)])), isFault);
});

test('every rejection says what it is', () => {
  for (const rejection of Object.keys(REJECTION) as Rejection[]) {
    assert.equal(describeRejection(rejectPdu(rejection)), rejection);
  }
});
