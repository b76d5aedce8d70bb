/** Owns the walk through the whole protocol machine, against the tables of PS3.8 as they are printed. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTIONS, type ActionName, EVENTS, STATES, transition } from '../../src/dicom/upper-layer.ts';

/** Table 9-10: a row an event, a column a state (Sta1 to Sta13); `-` where there is nothing. */
const TABLE_9_10 = `
AE-1 -    -    -    -    -    -    -    -    -     -    -    -
-    -    -    AE-2 -    -    -    -    -    -     -    -    -
-    AA-1 AA-8 -    AE-3 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
-    AA-1 AA-8 -    AE-4 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
AE-5 -    -    -    -    -    -    -    -    -     -    -    -
-    AE-6 AA-8 -    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
-    -    AE-7 -    -    -    -    -    -    -     -    -    -
-    -    AE-8 -    -    -    -    -    -    -     -    -    -
-    -    -    -    -    DT-1 -    AR-7 -    -     -    -    -
-    AA-1 AA-8 -    AA-8 DT-2 AR-6 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
-    -    -    -    -    AR-1 -    -    -    -     -    -    -
-    AA-1 AA-8 -    AA-8 AR-2 AR-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
-    AA-1 AA-8 -    AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6
-    -    -    -    -    -    -    AR-4 AR-9 -     -    AR-4 -
-    -    AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1  AA-1 AA-1 -
-    AA-2 AA-3 -    AA-3 AA-3 AA-3 AA-3 AA-3 AA-3  AA-3 AA-3 AA-2
-    AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4  AA-4 AA-4 AR-5
-    AA-2 -    -    -    -    -    -    -    -     -    -    AA-2
-    AA-1 AA-8 -    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
`
  .trim()
  .split('\n')
  .map((row) => row.trim().split(/\s+/));

/** Tables 9-6 to 9-9: the next state; PDU that is sent; ARTIM (+ started, 0 stopped); whether the transport is closed. */
const TABLES_9_6_TO_9: Readonly<Record<ActionName, string>> = {
  'AE-1': '4',
  'AE-2': '5 A-ASSOCIATE-RQ',
  'AE-3': '6',
  'AE-4': '1 close',
  'AE-5': '2 +',
  'AE-6': '3 0',
  'AE-7': '6 A-ASSOCIATE-AC',
  'AE-8': '13 A-ASSOCIATE-RJ +',
  'DT-1': '6 P-DATA-TF',
  'DT-2': '6',
  'AR-1': '7 A-RELEASE-RQ',
  'AR-2': '8',
  'AR-3': '1 close',
  'AR-4': '13 A-RELEASE-RP +',
  'AR-5': '1 0',
  'AR-6': '7',
  'AR-7': '8 P-DATA-TF',
  'AR-8': '9/10',
  'AR-9': '11 A-RELEASE-RP',
  'AR-10': '12',
  'AA-1': '13 A-ABORT +',
  'AA-2': '1 0 close',
  'AA-3': '1 close',
  'AA-4': '1',
  'AA-5': '1 0',
  'AA-6': '13',
  'AA-7': '13 A-ABORT',
  'AA-8': '13 A-ABORT +',
};

test('every event in every state is table 9-10, on both sides', () => {
  assert.equal(EVENTS.length, 19);
  assert.equal(STATES.length, 13);
  for (const [row, event] of EVENTS.entries()) {
    for (const [column, state] of STATES.entries()) {
      const printed = TABLE_9_10[row]?.[column];
      for (const requestor of [true, false]) {
        const found = transition(state, event, requestor);
        assert.equal(found?.action ?? '-', printed, `Evt${row + 1} (${event}) in Sta${state}`);
        if (found === undefined) continue;
        const next = TABLES_9_6_TO_9[found.action].split(' ')[0]?.split('/') ?? [];
        assert.equal(String(found.next), next[requestor ? 0 : 1] ?? next[0], `after ${found.action}`);
      }
    }
  }
});

test('every action does what tables 9-6 to 9-9 say', () => {
  assert.deepEqual(Object.keys(ACTIONS).sort(), Object.keys(TABLES_9_6_TO_9).sort());
  for (const [name, { effects }] of Object.entries(ACTIONS)) {
    const printed = TABLES_9_6_TO_9[name as ActionName].split(' ').slice(1).sort();
    const done = effects
      .map((effect) => {
        if (effect === 'start ARTIM') return '+';
        if (effect === 'stop ARTIM') return '0';
        if (effect === 'close transport') return 'close';
        return effect.startsWith('send ') ? effect.slice(5).replace(' of the provider', '') : '';
      })
      .filter((each) => each !== '')
      .sort();
    assert.deepEqual(done, printed, name);
  }
});

test('every state can be reached from idle, and idle from every state', () => {
  for (const requestor of [true, false]) {
    const next = new Map(
      STATES.map((state) => [
        state,
        new Set(EVENTS.map((event) => transition(state, event, requestor)?.next).filter((each) => each !== undefined)),
      ]),
    );
    const reach = (from: (typeof STATES)[number]): Set<number> => {
      const seen = new Set([from]);
      for (const state of seen) for (const each of next.get(state) ?? []) seen.add(each);
      return seen;
    };
    const never = requestor ? [10, 12] : [9, 11];
    assert.deepEqual(
      STATES.filter((state) => !reach(1).has(state)),
      never,
    );
    for (const state of STATES) assert.ok(reach(state).has(1), `Sta${state}`);
  }
});
