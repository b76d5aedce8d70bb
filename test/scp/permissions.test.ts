/** Owns the proof that one accepted presentation context opens one service, and that a question is bounded. */

import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { COMMAND, type Command } from '../../src/dicom/command.ts';
import { writeIdentifier } from '../../src/dicom/identifier.ts';
import type { Message } from '../../src/scu/association.ts';
import { requestAssociation } from '../../src/scu/requestor.ts';
import { make } from '../dicom/made.ts';
import { type Served, serve } from '../http/served.ts';
import { CT_IMAGE_STORAGE, VERIFICATION } from './bad-peer.ts';

const STUDY_ROOT = '1.2.840.10008.5.1.4.1.2.2.';
const MR_IMAGE_STORAGE = '1.2.840.10008.5.1.4.1.1.4';
const IMPLICIT = '1.2.840.10008.1.2';

suite('permissions', () => {
  let server: Served;
  before(async () => {
    server = await serve({
      DicomServerEnabled: true,
      DicomPort: 0,
      RejectedSopClasses: [CT_IMAGE_STORAGE],
      DicomModalities: {
        finder: { AET: 'FINDER', Host: '127.0.0.1', Port: 104, AllowFind: true },
        receiver: { AET: 'RECEIVER', Host: '127.0.0.1', Port: 9 },
      },
    });
    const image = new Uint8Array(make());
    assert.equal((await fetch(`${server.url}/instances`, { method: 'POST', body: image })).status, 200);
  });
  after(() => server.close());

  /** What a request is answered on a context of `abstractSyntax`; undefined when the association is aborted. */
  async function ask(
    abstractSyntax: string,
    command: Omit<Command, 'MessageID'>,
    keys: Parameters<typeof writeIdentifier>[0],
    callingAet = 'NOBODY',
  ): Promise<Message | undefined> {
    const association = await requestAssociation({
      host: '127.0.0.1',
      port: server.dicomPort,
      callingAet,
      calledAet: 'ISEN',
      contexts: [{ abstractSyntax, transferSyntaxes: [IMPLICIT] }],
      patience: 10_000,
      maximumPdu: 16_384,
    });
    const [context] = association.contexts;
    assert.ok(context);
    try {
      await association.send(context, { ...command, MessageID: 1 }, [writeIdentifier(keys, IMPLICIT, [])]);
      return await association.receive();
    } catch {
      return undefined;
    } finally {
      association.abort();
    }
  }

  const keys = [
    { tag: '0008,0052', vr: 'CS', value: 'STUDY' },
    { tag: '0010,0010', vr: 'PN', value: '*' },
    { tag: '0020,000d', vr: 'UI', value: '' },
  ];

  for (const [name, command] of Object.entries({
    'C-FIND': { CommandField: COMMAND['C-FIND-RQ'], AffectedSOPClassUID: `${STUDY_ROOT}1`, Priority: 0 },
    'C-MOVE': {
      CommandField: COMMAND['C-MOVE-RQ'],
      AffectedSOPClassUID: `${STUDY_ROOT}2`,
      Priority: 0,
      MoveDestination: 'RECEIVER',
    },
    'C-GET': { CommandField: COMMAND['C-GET-RQ'], AffectedSOPClassUID: `${STUDY_ROOT}3`, Priority: 0 },
    'C-STORE': {
      CommandField: COMMAND['C-STORE-RQ'],
      AffectedSOPClassUID: MR_IMAGE_STORAGE,
      AffectedSOPInstanceUID: '2.25.1',
      Priority: 0,
    },
    'N-ACTION': {
      CommandField: COMMAND['N-ACTION-RQ'],
      RequestedSOPClassUID: '1.2.840.10008.1.20.1',
      RequestedSOPInstanceUID: '1.2.840.10008.1.20.1.1',
      ActionTypeID: 1,
    },
  })) {
    test(`${name} on the context of Verification ends the association`, async () => {
      assert.equal(await ask(VERIFICATION, command, keys), undefined);
      assert.equal(await ask(VERIFICATION, command, keys, 'FINDER'), undefined);
      assert.equal(((await (await fetch(`${server.url}/instances`)).json()) as string[]).length, 1);
    });
  }

  test('a SOP class that is rejected cannot be named on the context of another', async () => {
    const command = {
      CommandField: COMMAND['C-STORE-RQ'],
      AffectedSOPClassUID: CT_IMAGE_STORAGE,
      AffectedSOPInstanceUID: '2.25.1',
      Priority: 0,
    };
    assert.equal((await ask(MR_IMAGE_STORAGE, command, keys))?.command.Status, 0x0122);
  });

  test('who may ask is answered; a question of thousands of keys is not', async () => {
    const find = { CommandField: COMMAND['C-FIND-RQ'], AffectedSOPClassUID: `${STUDY_ROOT}1`, Priority: 0 };
    assert.equal((await ask(`${STUDY_ROOT}1`, find, keys, 'FINDER'))?.command.Status, 0xff00);
    const many = Array.from({ length: 5000 }, (_, index) => ({
      tag: `0009,${(0x1000 + index).toString(16)}`,
      vr: 'LO',
      value: '',
    }));
    const refused = await ask(`${STUDY_ROOT}1`, find, [...keys.slice(0, 1), ...many, ...keys.slice(1)], 'FINDER');
    assert.ok((refused?.command.Status ?? 0) >= 0xa900);
    assert.notEqual((refused?.command.Status ?? 0) & 0xff00, 0xff00);
  });
});
