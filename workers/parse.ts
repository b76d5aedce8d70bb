/** The worker of reception: see storage/parse-and-put. */

import Piscina from 'piscina';
import { answering } from '../src/answer.ts';
import { keepBesides, type Level } from '../src/dicom/levels.ts';
import { beNice, NICE } from '../src/priority.ts';
import { parseAndPut } from '../src/storage/parse-and-put.ts';

beNice(NICE.parse);

// The main tags that are kept besides the built-in ones.
keepBesides((Piscina.workerData ?? {}) as Partial<Record<Level, readonly string[]>>);

export default answering(parseAndPut);
