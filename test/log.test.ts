/** The levels of the log. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LOG_CATEGORIES, log, logLevel, setLogLevel } from '../src/log.ts';

test('each category has its own level, and one call sets all', () => {
  for (const category of LOG_CATEGORIES) assert.equal(logLevel(category), 'default');
  setLogLevel('trace', 'dicom');
  assert.equal(logLevel('dicom'), 'trace');
  assert.equal(log.dicom.isLevelEnabled('trace'), true);
  assert.equal(logLevel('http'), 'default');
  assert.equal(log.http.isLevelEnabled('info'), true);
  assert.equal(log.http.isLevelEnabled('debug'), false);
  setLogLevel('verbose');
  for (const category of LOG_CATEGORIES) {
    assert.equal(logLevel(category), 'verbose');
    assert.equal(log[category].isLevelEnabled('debug'), true);
    assert.equal(log[category].isLevelEnabled('trace'), false);
  }
  setLogLevel('default');
});
