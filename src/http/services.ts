/** Owns what the HTTP door is given: the rooms behind it. */

import type { Changes } from '../changes/changes.ts';
import type { Config } from '../config.ts';
import type { Database } from '../database/database.ts';
import type { Headers } from '../ingest/header.ts';
import type { Ingest } from '../ingest/ingest.ts';
import type { Pictures } from '../ingest/pictures.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { Modifications } from '../jobs/modify.ts';
import type { Queue } from '../jobs/queue.ts';
import type { Storage } from '../storage/storage.ts';

/** Everything a route may use; built by main. */
export interface Services {
  readonly config: Config;
  readonly database: Database;
  readonly storage: Storage;
  readonly changes: Changes;
  readonly ingest: Ingest;
  readonly queue: Queue;
  readonly jobs: Jobs;
  readonly modifications: Modifications;
  readonly headers: Headers;
  readonly pictures: Pictures;
  /** Isen's own version. */
  readonly version: string;
}
