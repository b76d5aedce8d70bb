/** Owns the codec of command sets: every element there and back, and what is refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMAND, COMMAND_ELEMENTS, type Command, decodeCommand, encodeCommand } from '../../src/dicom/command.ts';
import { IsenError } from '../../src/errors.ts';

/** One element of group 0000 in implicit VR little endian. */
function element(number: number, value: Uint8Array, length = value.length, group = 0): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16LE(group, 0);
  head.writeUInt16LE(number, 2);
  head.writeUInt32LE(length, 4);
  return Buffer.concat([head, value]);
}
const us = (value: number): Buffer => Buffer.from([value & 0xff, value >> 8]);
const isRefused = (thrown: unknown): boolean => thrown instanceof IsenError && thrown.code === 'NetworkProtocol';

test('every element goes there and back, in ascending order, behind a true group length', () => {
  const command: Record<string, string | number> = {};
  for (const [index, [keyword, [, vr]]] of Object.entries(COMMAND_ELEMENTS).entries()) {
    command[keyword] = vr === 'US' ? 0xff00 + index : vr === 'UI' ? `1.2.${index}` : `TEXT ${index}`;
  }
  for (const hasDataSet of [true, false]) {
    const bytes = encodeCommand(command as unknown as Command, hasDataSet);
    assert.deepEqual(decodeCommand(bytes), { command, hasDataSet });
    assert.equal(bytes.readUInt32LE(8), bytes.length - 12);
    const numbers: number[] = [];
    for (let at = 0; at < bytes.length; at += 8 + bytes.readUInt32LE(at + 4)) {
      assert.equal(bytes.readUInt16LE(at), 0);
      assert.equal(bytes.readUInt32LE(at + 4) % 2, 0);
      numbers.push(bytes.readUInt16LE(at + 2));
    }
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
    );
    assert.ok(numbers.includes(0x0800));
  }
});

test('the bytes of a C-ECHO-RQ are those of PS3.7 annex E', () => {
  const bytes = encodeCommand({ CommandField: 0x30, MessageID: 7, AffectedSOPClassUID: '1.2.840.10008.1.1' }, false);
  const expected = Buffer.concat([
    element(0x0000, Buffer.from([56, 0, 0, 0])),
    element(0x0002, Buffer.from('1.2.840.10008.1.1\0')),
    element(0x0100, us(0x30)),
    element(0x0110, us(7)),
    element(0x0800, us(0x0101)),
  ]);
  assert.deepEqual(bytes, expected);
});

test('padding, unknown elements, empty values and a lying group length are borne', () => {
  const bytes = Buffer.concat([
    element(0x0000, Buffer.from([0xff, 0xff, 0xff, 0xff])),
    element(0x0002, Buffer.from('1.2.3\0')),
    element(0x0010, Buffer.from('?!')),
    element(0x0100, us(COMMAND['C-MOVE-RQ'])),
    element(0x0600, Buffer.from('  THERE ')),
    element(0x0800, us(0)),
    element(0x0902, Buffer.alloc(0)),
  ]);
  assert.deepEqual(decodeCommand(bytes), {
    command: { AffectedSOPClassUID: '1.2.3', CommandField: 0x21, MoveDestination: 'THERE' },
    hasDataSet: true,
  });
});

test('a long comment is cut to what its VR holds', () => {
  const { command } = decodeCommand(encodeCommand({ CommandField: 0x8001, ErrorComment: 'x'.repeat(500) }, false));
  assert.equal(command.ErrorComment?.length, 64);
});

test('what is no command set is refused', () => {
  const field = element(0x0100, us(1));
  const type = element(0x0800, us(0x0101));
  for (const [what, bytes] of Object.entries({
    nothing: Buffer.alloc(0),
    'no field': type,
    'no data set type': field,
    'a cut head': Buffer.concat([field, type, Buffer.alloc(5)]),
    'a length past the end': Buffer.concat([field, type, element(0x0110, us(1), 4)]),
    'a length of 4 GB': Buffer.concat([field, type, element(0x0110, us(1), 0xffffffff)]),
    'a short number': Buffer.concat([element(0x0100, Buffer.from([1])), type]),
  })) {
    assert.throws(() => decodeCommand(bytes), isRefused, what);
  }
});

test('details of a status that a peer appends are passed over', () => {
  const bytes = Buffer.concat([element(0x0100, us(0x8010)), element(0x0800, us(0x0101)), element(0x0058, us(1), 2, 8)]);
  assert.equal(decodeCommand(bytes).command.CommandField, 0x8010);
});

test('random bytes end in an answer or a refusal', () => {
  const seeds = Array.from({ length: 2000 }, (_, index) => index);
  for (const seed of seeds) {
    let state = seed + 1;
    const bytes = Buffer.from(
      Array.from({ length: seed % 97 }, () => {
        state = Math.imul(state, 1103515245) + 12345;
        // Many zeros, so that group and lengths are often plausible.
        return (state >>> 16) % 3 === 0 ? 0 : (state >>> 20) & 0xff;
      }),
    );
    try {
      decodeCommand(bytes);
    } catch (thrown) {
      assert.ok(isRefused(thrown));
    }
  }
});
