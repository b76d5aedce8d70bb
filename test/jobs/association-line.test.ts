/** One association to a modality: what it reads ahead of what it sends. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssociationLines } from '../../src/jobs/association-line.ts';
import type { Ready } from '../../src/jobs/feed.ts';
import { createDial } from '../../src/scu/dial.ts';
import { readModality } from '../../src/scu/modalities.ts';
import { requestAssociation } from '../../src/scu/requestor.ts';
import { make } from '../dicom/made.ts';
import { receive } from '../scu/receiver.ts';

const MB = 2 ** 20;
const STATE = { state: 'active', attempts: 1, added: 0, reason: '' } as const;

test('three are made ready while one is sent, of large ones no more than fit', async (context) => {
  const receiver = await receive();
  context.after(() => receiver.close());
  const dial = createDial({ connect: requestAssociation, aet: 'ISEN', timeout: 5, maximumPdu: 16_384, tls: undefined });
  const lines = new AssociationLines({ dial, preferred: '', transcoding: false });
  const target = lines.target(readModality('a', ['A', '127.0.0.1', receiver.port]));
  for (const [size, expected] of [
    [1 * MB, ['1.0', '1.1', '1.2', '1.3']],
    [20 * MB, ['1.0', '1.1']],
    [200 * MB, ['1.0', '1.1']],
  ] as const) {
    const made: string[] = [];
    const readyOf = (sopInstanceUid: string): Ready => ({
      entry: { queue: 'modality:a', id: '', group: '', priority: 0, due: 0, value: {}, seq: 1, ...STATE },
      order: { instance: '' },
      problem: '',
      outgoing: {
        sopClassUid: '1.2.840.10008.5.1.4.1.1.2',
        sopInstanceUid,
        transferSyntax: '1.2.840.10008.1.2.1',
        size,
        read: () => assert.fail('it goes as it is changed'),
        transcode: () => assert.fail('it goes as it is changed'),
        changed: async () => {
          made.push(sopInstanceUid);
          return make({ sopUid: sopInstanceUid });
        },
      },
    });
    const [first, ...ahead] = ['1.0', '1.1', '1.2', '1.3', '1.4'].map(readyOf);
    assert.ok(first);
    const line = await target.open(first, ahead);
    assert.equal((await line.send(first, ahead)).status, 'success');
    assert.deepEqual(made, expected);
    await line.release();
  }
});
