/**
 * Owns the known modalities while the server runs: those of the configuration, changed in memory only, or
 * (`DicomModalitiesInDatabase`) those of the index.
 */

import type { Database } from '../database/database.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { describeModality, readModality } from '../scu/modalities.ts';
import type { Modalities, Modality } from '../scu/modality.ts';
import { configuredRegister, type Notation, storedRegister } from './register.ts';

const NOTATION: Notation<Modality> = { read: readModality, describe: describeModality };

/** Those of `DicomModalities`. Throws as {@link readModality} does. */
export function configuredModalities(configured: Readonly<Record<string, unknown>>): Modalities {
  return configuredRegister(configured, NOTATION);
}

/** Those of the index, on whichever node they were set. */
export function storedModalities(database: Pick<Database, 'property'>, apply: Ingest['apply']): Modalities {
  return storedRegister('DicomModalities', NOTATION, database, apply);
}
