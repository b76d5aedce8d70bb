/** The worker of reception: see dicom/parsing. */

import Piscina from 'piscina';
import { answering } from '../src/answer.ts';
import { keepBesides, type Level } from '../src/dicom/levels.ts';
import { parseEach } from '../src/dicom/parsing.ts';

// The main tags that are kept besides the built-in ones.
keepBesides((Piscina.workerData ?? {}) as Partial<Record<Level, readonly string[]>>);

export default answering(parseEach);
