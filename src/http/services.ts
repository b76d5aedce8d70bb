/** Owns what the HTTP door is given: the rooms behind it. */

import type { Changes } from '../changes/changes.ts';
import type { Config } from '../config.ts';
import type { Database } from '../database/database.ts';
import type { Headers } from '../ingest/header.ts';
import type { Ingest } from '../ingest/ingest.ts';
import type { Pictures } from '../ingest/pictures.ts';
import type { Transcoder } from '../ingest/transcoder.ts';
import type { Dial } from '../scu/dial.ts';
import type { Modalities } from '../scu/modality.ts';
import type { Commitments } from '../jobs/commitments.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { Modifications } from '../jobs/modify.ts';
import type { Queue } from '../jobs/queue.ts';
import type { Queries } from '../jobs/queries.ts';
import type { Router } from '../jobs/route.ts';
import type { Settings } from '../jobs/settings.ts';
import type { Stores } from '../jobs/store.ts';
import type { Storage } from '../storage/storage.ts';

/** Everything a route may use; built by main. */
export interface Services {
  readonly config: Config;
  readonly database: Database;
  readonly storage: Storage;
  readonly changes: Changes;
  readonly ingest: Ingest;
  readonly modifications: Modifications;
  readonly headers: Headers;
  readonly pictures: Pictures;
  readonly transcoder: Transcoder;
  readonly modalities: Modalities;
  readonly dial: Dial;
  readonly queries: Queries;
  readonly queue: Queue;
  readonly jobs: Jobs;
  readonly commitments: Commitments;
  readonly stores: Stores;
  readonly router: Router;
  readonly settings: Settings;
  /** Aborts when the server is about to stop: a balancer is to send requests elsewhere. */
  readonly leaving: AbortSignal;
  /** Isen's own version. */
  readonly version: string;
}
