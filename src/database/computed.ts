/** Owns the attributes that are in no file but follow from the resources below one (PS3.4 §C.3.4), by level, as data. */

import type { Level } from '../dicom/levels.ts';
import type { Computed } from './database.ts';

/** Level → tag → value. */
export const COMPUTED: Readonly<Record<Level, Readonly<Record<string, (computed: Computed) => string>>>> = {
  Patient: {
    '0020,1200': (computed) => String(computed.studies),
    '0020,1202': (computed) => String(computed.series),
    '0020,1204': (computed) => String(computed.instances),
  },
  Study: {
    '0008,0061': (computed) => computed.modalities.join('\\'),
    '0008,0062': (computed) => computed.sopClasses.join('\\'),
    '0020,1206': (computed) => String(computed.series),
    '0020,1208': (computed) => String(computed.instances),
  },
  Series: { '0020,1209': (computed) => String(computed.instances) },
  Instance: { '0008,0056': () => 'ONLINE' },
};

/** The tags of every level. */
export const COMPUTED_TAGS: ReadonlySet<string> = new Set(Object.values(COMPUTED).flatMap((row) => Object.keys(row)));
