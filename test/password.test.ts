/** Passwords, plain and hashed. */

import assert from 'node:assert/strict';
import { scryptSync } from 'node:crypto';
import { test } from 'node:test';
import { IsenError } from '../src/errors.ts';
import { hashPassword, isUsablePassword, verifyPassword } from '../src/password.ts';

test('a plain password is the one or it is not', async () => {
  const users = { alice: 'secret', ünï: 'pässwörd' };
  assert.equal(await verifyPassword(users, 'alice', 'secret'), true);
  assert.equal(await verifyPassword(users, 'ünï', 'pässwörd'), true);
  for (const wrong of ['', 'secre', 'secret ', 'Secret'])
    assert.equal(await verifyPassword(users, 'alice', wrong), false);
  for (const nobody of ['bob', '', '__proto__', 'toString']) {
    assert.equal(await verifyPassword(users, nobody, 'secret'), false);
  }
});

test('a hashed password is the one or it is not, and only its first check is slow', async () => {
  const hash = await hashPassword('secret');
  assert.match(hash, /^scrypt\$16384\$8\$5\$/);
  assert.notEqual(await hashPassword('secret'), hash);
  const users = { alice: hash };
  assert.equal(await verifyPassword(users, 'alice', 'wrong'), false);
  assert.equal(await verifyPassword(users, 'alice', hash), false);
  assert.equal(await verifyPassword(users, 'bob', 'secret'), false);
  assert.equal(await verifyPassword(users, 'alice', 'secret'), true);
  const began = performance.now();
  for (let i = 0; i < 1000; i++) assert.equal(await verifyPassword(users, 'alice', 'secret'), true);
  assert.ok(performance.now() - began < 2000);
});

test('a hash made elsewhere is understood', async () => {
  const salt = Buffer.from('0123456789abcdef');
  const hash = scryptSync('secret', salt, 64, { N: 1024, r: 4, p: 2 });
  const stored = `scrypt$1024$4$2$${salt.toString('base64')}$${hash.toString('base64')}`;
  assert.equal(await verifyPassword({ alice: stored }, 'alice', 'secret'), true);
  assert.equal(await verifyPassword({ alice: stored }, 'alice', 'secrets'), false);
});

test('hashes of broken form or unbounded cost are not usable', () => {
  const tail = 'c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2g';
  assert.equal(isUsablePassword(`scrypt$1024$8$1$${tail}`), true);
  for (const cost of ['0$8$1', '1000$8$1', '2097152$8$1', '1024$99$1', '1024$8$0', '1024$8']) {
    assert.equal(isUsablePassword(`scrypt$${cost}$${tail}`), false, cost);
  }
  assert.equal(isUsablePassword('scrypt$'), false);
  assert.equal(isUsablePassword(''), false);
});

test('a flood of wrong passwords is answered Busy', async () => {
  const users = { alice: `scrypt$1024$8$1$${'a'.repeat(22)}$${'a'.repeat(43)}` };
  const answers = await Promise.allSettled(
    Array.from({ length: 100 }, (_, index) => verifyPassword(users, 'alice', `wrong ${index}`)),
  );
  const refused = answers.filter((answer) => answer.status === 'rejected');
  assert.equal(refused.length, 68);
  for (const { reason } of refused) assert.ok(reason instanceof IsenError && reason.code === 'Busy');
  assert.ok(answers.every((answer) => answer.status === 'rejected' || !answer.value));
});
