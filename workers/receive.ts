/** The thread of the inlet: see inlet-thread. */

import { parentPort, workerData } from 'node:worker_threads';
import type { InletData } from '../src/inlet-shared.ts';
import { receiveUntilEnd } from '../src/inlet-thread.ts';
import { beNice, NICE } from '../src/priority.ts';

beNice(NICE.parse);

receiveUntilEnd(workerData as InletData, () => parentPort?.postMessage(undefined));
