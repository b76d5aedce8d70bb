/** The thread that hashes beside the one which commits: see md5-beside. */

import { parentPort, workerData } from 'node:worker_threads';
import { type HashingData, hashUntilEnd } from '../src/md5-beside.ts';

if (parentPort !== null) hashUntilEnd(workerData as HashingData, parentPort);
