/** Owns the part of the `database` contract that is about labels, metadata and attachments that users add. */

import assert from 'node:assert/strict';
import type { Expected, Operation, Outcome } from '../../src/database/database.ts';
import type { Level } from '../../src/dicom/levels.ts';
import { attachmentOf, publicIdOf } from './instances.ts';
import {
  type Check,
  A,
  instance,
  log,
  one,
  outcome,
  population,
  series,
  study,
  unknownResource,
} from './population.ts';

/** Checks of the contract that are made with `check`. */
export function addingContract(check: Check): void {
  check('metadata have revisions and log their changes', async (database) => {
    const id = study('1.1');
    const refused: Outcome = { kind: 'refused', error: 'Revision' };
    const set = (value: string | undefined, revision?: number, md5?: string): Operation => ({
      kind: 'metadata',
      level: 'Study',
      id,
      name: 'mine',
      value,
      ...(revision !== undefined && { expected: { revision, ...(md5 !== undefined && { md5 }) } }),
    });
    const committed = await database.commit([
      { ...set('a'), expected: 'nothing' } as Operation,
      set('b'),
      set('c', 1, '92eb5ffee6ae2fec3ad71c777531578f'),
      set('d', 1),
      // Of another value.
      set('d', 2, '92eb5ffee6ae2fec3ad71c777531578f'),
      { ...set('d'), expected: 'nothing' } as Operation,
      set(undefined, 0),
    ]);
    assert.deepEqual(committed.outcomes, [
      { kind: 'written', revision: 0 },
      { kind: 'written', revision: 1 },
      { kind: 'written', revision: 2 },
      refused,
      refused,
      refused,
      refused,
    ]);
    assert.deepEqual(log(committed), ['UpdatedMetadata Study', 'UpdatedMetadata Study', 'UpdatedMetadata Study']);
    assert.deepEqual((await one(database, { level: 'Study', id })).metadata['mine'], { value: 'c', revision: 2 });
    const removed = await database.commit([set(undefined, 2), set(undefined)]);
    assert.deepEqual(removed.outcomes, [{ kind: 'written', revision: 2 }, unknownResource]);
    assert.deepEqual(log(removed), ['UpdatedMetadata Study']);
    assert.equal((await one(database, { level: 'Study', id })).metadata['mine'], undefined);
    // A new one takes any revision, as the reference does.
    assert.deepEqual(await outcome(database, set('x', 7)), { kind: 'written', revision: 0 });
    const [nobody] = (await database.commit([{ kind: 'metadata', level: 'Series', id, name: 'mine', value: 'x' }]))
      .outcomes;
    assert.deepEqual(nobody, unknownResource);
  });

  check("the server's own metadata can be replaced and deleted, without a change", async (database) => {
    const id = instance('1.1.1.1');
    const set = (name: string, value: string | undefined): Operation => ({
      kind: 'metadata',
      level: 'Instance',
      id,
      name,
      value,
    });
    const committed = await database.commit([
      set('AnonymizedFrom', 'x'),
      set('RemoteAET', 'OTHER'),
      set('Origin', 'Lua'),
      set('Origin', undefined),
    ]);
    assert.deepEqual(committed.outcomes, [
      { kind: 'written', revision: 0 },
      { kind: 'written', revision: 1 },
      { kind: 'written', revision: 1 },
      { kind: 'written', revision: 1 },
    ]);
    assert.deepEqual(log(committed), []);
    const { metadata } = await one(database, { level: 'Instance', id });
    assert.deepEqual(metadata['RemoteAET'], { value: 'OTHER', revision: 1 });
    assert.deepEqual(metadata['AnonymizedFrom'], { value: 'x', revision: 0 });
    assert.equal(metadata['Origin'], undefined);
    const above = await one(database, { level: 'Instance', id, instance: true });
    assert.deepEqual(above.instance?.metadata, metadata);
  });

  check('attachments have revisions, log their changes and give up the old blob', async (database) => {
    const id = study('1.1');
    const [first, second] = [attachmentOf(1025, 10), attachmentOf(1025, 30)];
    const refused: Outcome = { kind: 'refused', error: 'Revision' };
    const set = (attachment: typeof first | undefined, expected?: Expected): Operation => ({
      kind: 'attachment',
      level: 'Study',
      id,
      contentType: 1025,
      attachment,
      ...(expected !== undefined && { expected }),
    });
    const md5 = first.uncompressedMD5;
    const written = await database.commit([
      set(first, 'nothing'),
      set(second, { revision: 1 }),
      set(second, { revision: 0, md5: '0'.repeat(32) }),
      set(second, 'nothing'),
      set(second, { revision: 0, md5 }),
    ]);
    assert.deepEqual(written.outcomes, [
      { kind: 'written', revision: 0 },
      refused,
      refused,
      refused,
      { kind: 'written', revision: 1 },
    ]);
    assert.deepEqual(log(written), ['UpdatedAttachment Study', 'UpdatedAttachment Study']);
    assert.deepEqual(written.removals, [first.uuid]);
    assert.deepEqual((await one(database, { level: 'Study', id })).attachments, [{ ...second, revision: 1 }]);
    assert.equal((await database.statistics())?.diskSize, 5030);
    const deleted = await database.commit([set(undefined, { revision: 1 }), set(undefined)]);
    assert.deepEqual(deleted.outcomes, [{ kind: 'written', revision: 1 }, unknownResource]);
    assert.deepEqual(deleted.removals, [second.uuid]);
    assert.equal((await database.statistics())?.diskSize, 5000);
  });

  check('the DICOM file can be replaced but not deleted', async (database) => {
    const id = instance('1.1.1.1');
    const plain = population[0].attachment;
    const compressed = {
      ...attachmentOf(1),
      uncompressedMD5: plain.uncompressedMD5,
      compressedSize: 400,
      compressedMD5: '0f'.repeat(16),
      compression: 'zlib' as const,
    };
    const replace: Operation = { kind: 'attachment', level: 'Instance', id, contentType: 1, attachment: compressed };
    const committed = await database.commit([replace]);
    assert.deepEqual(committed.outcomes, [{ kind: 'written', revision: 1 }]);
    assert.deepEqual([committed.removals, log(committed)], [[plain.uuid], []]);
    assert.deepEqual((await one(database, { level: 'Instance', id })).attachments, [{ ...compressed, revision: 1 }]);
    assert.equal((await database.statistics())?.dicomDiskSize, 4400);
    assert.equal((await database.statistics())?.dicomUncompressedSize, 5000);
    await assert.rejects(database.commit([{ ...replace, attachment: undefined }]), { code: 'ForbiddenAccess' });
  });

  check('labels are a set', async (database) => {
    const id = study('1.1');
    const set = (label: string, present: boolean): Operation => ({ kind: 'label', level: 'Study', id, label, present });
    const committed = await database.commit([set('b', true), set('a', true), set('a', true), set('zz', false)]);
    assert.ok(committed.outcomes.every((each) => each.kind === 'written'));
    assert.deepEqual((await one(database, { level: 'Study', id })).labels, ['a', 'b']);
    await database.commit([set('b', false)]);
    assert.deepEqual((await one(database, { level: 'Study', id })).labels, ['a']);
    assert.deepEqual(
      await outcome(database, { kind: 'label', level: 'Study', id: series('1.1.1'), label: 'a', present: true }),
      unknownResource,
    );
  });

  check('the labels in use are listed once each, sorted, and go with the last that has them', async (database) => {
    const set = (level: Level, id: string, label: string, present = true): Operation => ({
      kind: 'label',
      level,
      id,
      label,
      present,
    });
    assert.deepEqual(await database.labels(), []);
    await database.commit([
      set('Study', study('1.1'), 'b'),
      set('Study', study('1.2'), 'b'),
      set('Series', series('1.1.1'), 'c'),
      set('Patient', publicIdOf(A), 'a'),
      set('Instance', instance('1.1.1.1'), 'B'),
    ]);
    assert.deepEqual(await database.labels(), ['B', 'a', 'b', 'c']);
    await database.commit([set('Study', study('1.1'), 'b', false)]);
    assert.deepEqual(await database.labels(), ['B', 'a', 'b', 'c']);
    await database.commit([set('Study', study('1.2'), 'b', false)]);
    assert.deepEqual(await database.labels(), ['B', 'a', 'c']);
    await database.commit([{ kind: 'delete', level: 'Study', id: study('1.1') }]);
    assert.deepEqual(await database.labels(), ['a']);
  });

  check('the version is another one after a commit, and only then', async (database) => {
    const id = study('1.1');
    const populated = database.version();
    if (populated === undefined) return;
    await one(database, { level: 'Study', id });
    assert.equal(database.version(), populated);
    await database.commit([{ kind: 'label', level: 'Study', id, label: 'a', present: true }]);
    const labelled = database.version();
    assert.notEqual(labelled, populated);
    assert.equal(database.version(), labelled);
    await database.commit([{ kind: 'clear-changes' }]);
    assert.notEqual(database.version(), labelled);
  });

  check('properties', async (database, reopen) => {
    const set = (value: string | undefined): Operation => ({
      kind: 'property',
      name: 'DatabaseServerIdentifier',
      value,
    });
    assert.equal(await database.property('DatabaseServerIdentifier'), undefined);
    await database.commit([set('one')]);
    await database.commit([set('two')]);
    const again = await reopen();
    assert.equal(await again.property('DatabaseServerIdentifier'), 'two');
    await again.commit([set(undefined)]);
    assert.equal(await again.property('DatabaseServerIdentifier'), undefined);
  });
}
