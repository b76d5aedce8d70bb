/** The conformance statement, held against what the server does when it is asked for associations. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STORAGE_CLASSES } from '../../src/dicom/storage-classes.ts';
import { TRANSFER_SYNTAXES } from '../../src/dicom/transfer-syntaxes.ts';
import { requestAssociation } from '../../src/scu/requestor.ts';
import { serve } from './served.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const MR = '1.2.840.10008.5.1.4.1.1.4';
const IMPLICIT = '1.2.840.10008.1.2';

/** UIDs in the rows of a table whose first column is called so. */
function uidsUnder(statement: string, title: string): string[] {
  const tables = statement.split('\n\n').filter((part) => part.trimStart().startsWith(`${title} `));
  return tables.flatMap((part) => [...part.matchAll(/\| ([\d.]+)$/gm)].map((match) => match[1] ?? '')).sort();
}

test('the server accepts what it states, and nothing else', async () => {
  const AcceptedTransferSyntaxes = ['1.2.840.10008.1.2*', '1.2.3.4'];
  const server = await serve({
    DicomServerEnabled: true,
    DicomPort: 0,
    RejectedSopClasses: [CT],
    AcceptedTransferSyntaxes,
    DicomAlwaysAllowFind: true,
    DicomAlwaysAllowGet: true,
    DicomAlwaysAllowMove: true,
  });
  try {
    const answer = await fetch(`${server.url}/tools/dicom-conformance`);
    assert.equal(answer.headers.get('content-type'), 'text/plain');
    const statement = await answer.text();
    const accepted = async (
      proposals: readonly { abstractSyntax: string; transferSyntaxes: readonly string[] }[],
    ): Promise<string[]> => {
      const found: string[] = [];
      for (let at = 0; at < proposals.length; at += 100) {
        const association = await requestAssociation({
          host: '127.0.0.1',
          port: server.dicomPort,
          callingAet: 'ANYBODY',
          calledAet: 'ISEN',
          contexts: proposals.slice(at, at + 100),
          patience: 10_000,
          maximumPdu: 16_384,
        });
        found.push(...association.contexts.map((each) => `${each.abstractSyntax} ${each.transferSyntax}`));
        association.abort();
      }
      return found;
    };
    const classes = await accepted(
      [...STORAGE_CLASSES].map((abstractSyntax) => ({ abstractSyntax, transferSyntaxes: [IMPLICIT] })),
    );
    assert.deepEqual(uidsUnder(statement, 'SOP class'), classes.map((each) => each.split(' ')[0] ?? '').sort());
    assert.ok(!uidsUnder(statement, 'SOP class').includes(CT));
    const syntaxes = await accepted(
      ['1.2.3.4', '1.2.3.5', ...TRANSFER_SYNTAXES.map(({ uid }) => uid)].map((uid) => ({
        abstractSyntax: MR,
        transferSyntaxes: [uid],
      })),
    );
    const [, storage = ''] = statement.split(/Storage: \d+ SOP classes/);
    assert.deepEqual(
      uidsUnder(storage.slice(0, storage.indexOf('5 Presentation')), 'Transfer syntax'),
      syntaxes.map((each) => each.split(' ')[1] ?? '').sort(),
    );
    assert.ok(syntaxes.includes(`${MR} 1.2.3.4`) && !syntaxes.includes(`${MR} 1.2.3.5`));
    // Each row of the overview that says it is a provider is one.
    const rows = [...statement.matchAll(/\| ([\d.]+) +\| (Yes|No) +\| (Yes|No)$/gm)];
    assert.ok(rows.length >= 9);
    for (const [, uid = '', scu, scp] of rows) {
      const [context] = await accepted([{ abstractSyntax: uid, transferSyntaxes: [IMPLICIT] }]);
      assert.equal(scu, 'Yes');
      // Storage Commitment is for modalities that are known.
      if (uid !== '1.2.840.10008.1.20.1') assert.equal(context !== undefined, scp === 'Yes', uid);
    }
  } finally {
    await server.close();
  }
});
