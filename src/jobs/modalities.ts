/**
 * Owns the known modalities while the server runs: those of the configuration, changed in memory only, or
 * (`DicomModalitiesInDatabase`) those of the index.
 */

import type { Config } from '../config.ts';
import type { Database } from '../database/database.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { describeModality, readModality } from '../scu/modalities.ts';
import type { Modalities, Modality } from '../scu/modality.ts';
import type { Queue } from './queue.ts';
import { type Notation, openRegister } from './register.ts';

const NOTATION: Notation<Modality> = { read: readModality, describe: describeModality };

export interface ModalitiesOptions {
  readonly config: Pick<Config, 'DicomModalities' | 'DicomModalitiesInDatabase'>;
  readonly database: Pick<Database, 'property' | 'shared'>;
  readonly apply: Ingest['apply'];
  readonly queue: Pick<Queue, 'lease'>;
}

/** Those of `DicomModalities`, or (`DicomModalitiesInDatabase`) of the index. Throws as {@link readModality} does. */
export function openModalities({ config, ...stored }: ModalitiesOptions): Modalities {
  return openRegister({
    ...stored,
    property: 'DicomModalities',
    notation: NOTATION,
    configured: config.DicomModalities,
    inDatabase: config.DicomModalitiesInDatabase,
  });
}
