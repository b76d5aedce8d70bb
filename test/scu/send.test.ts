import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsenError } from '../../src/errors.ts';
import { failed, remarkOf } from '../../src/scu/send.ts';

test('what a peer wrote is not logged; why it was not asked is', () => {
  const answered = {
    dimseStatus: 0xa700,
    reason: 'C-STORE SCU to AET "PACS" has failed with DIMSE status 0xA700 (DOE^JANE)',
  };
  assert.equal(remarkOf(answered), 'status a700H');
  assert.equal(remarkOf(failed(new IsenError('NotImplemented', 'Cannot transcode'))), 'Cannot transcode');
});
