/** Owns the proof of UIDs that are made here. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { derivedUid, generateUid } from '../../src/dicom/ids.ts';

test('a derived UID follows from its parts and from nothing else, and is one of a UUID', () => {
  const uid = derivedUid('1.2.3', Uint8Array.of(1, 2, 3));
  assert.equal(derivedUid('1.2.3', Uint8Array.of(1, 2, 3)), uid);
  const others = [
    derivedUid('1.2.3', Uint8Array.of(1, 2, 4)),
    derivedUid('1.2.4', Uint8Array.of(1, 2, 3)),
    derivedUid('1.2', '.3', Uint8Array.of(1, 2, 3)),
    derivedUid('1.2.', '3', Uint8Array.of(1, 2, 3)),
    generateUid(),
  ];
  assert.equal(new Set([uid, ...others]).size, 6);
  for (const each of [uid, ...others]) {
    // PS3.5 §9.1: at most 64 characters, no leading zero; RFC 9562: version 4 or 8, variant 10.
    assert.match(each, /^2\.25\.[1-9]\d{0,58}$/);
    const hex = BigInt(each.slice(5)).toString(16).padStart(32, '0');
    assert.match(hex, /^.{12}[48].{3}[89ab].{15}$/);
  }
});
