/** The thread of the inlet: see inlet-thread. */

import { parentPort, workerData } from 'node:worker_threads';
import type { InletData } from '../src/inlet-shared.ts';
import { receiveUntilEnd } from '../src/inlet-thread.ts';
import { giveWay, NICE } from '../src/priority.ts';

const look = giveWay(NICE.parse);

receiveUntilEnd(workerData as InletData, {
  tell: () => parentPort?.postMessage(undefined),
  // Its event loop does not turn.
  turn: look,
});
