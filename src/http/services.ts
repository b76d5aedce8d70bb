/** Owns what the HTTP door is given: the rooms behind it. */

import type { Changes } from '../changes/changes.ts';
import type { Config } from '../config.ts';
import type { Database } from '../database/database.ts';
import type { Headers } from '../ingest/header.ts';
import type { Ingest } from '../ingest/ingest.ts';
import type { Reconstruction } from '../ingest/reconstruction.ts';
import type { Creator } from '../ingest/made.ts';
import type { Pictures } from '../ingest/pictures.ts';
import type { Transcoder } from '../ingest/transcoder.ts';
import type { Dial } from '../scu/dial.ts';
import type { Modalities } from '../scu/modality.ts';
import type { Archives } from '../jobs/archive.ts';
import type { Commitments } from '../jobs/commitments.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { Modifications } from '../jobs/modify.ts';
import type { Queue } from '../jobs/queue.ts';
import type { Queries } from '../jobs/queries.ts';
import type { Peers } from '../jobs/peers.ts';
import type { Settings } from '../jobs/settings.ts';
import type { Router } from '../jobs/route.ts';
import type { Stores } from '../jobs/store.ts';
import type { Webhooks } from '../jobs/webhooks.ts';
import type { Inlet } from '../inlet.ts';
import type { HttpClient } from '../outgoing.ts';
import type { Storage } from '../storage/storage.ts';

/** How a server may be asked to end. */
export type Ending = 'shutdown' | 'reset';

/** Everything a route may use; built by main. */
export interface Services {
  /** Of which what can be changed while the server runs is as it is at the moment of asking. */
  readonly config: Config;
  readonly settings: Settings;
  readonly database: Database;
  readonly storage: Storage;
  readonly changes: Changes;
  readonly ingest: Ingest;
  readonly modifications: Modifications;
  readonly archives: Archives;
  readonly creator: Creator;
  readonly headers: Headers;
  readonly reconstruction: Reconstruction;
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
  readonly peers: Peers;
  readonly webhooks: Webhooks;
  /** Requests to other servers. */
  readonly outgoing: HttpClient;
  /** Another thread that receives bodies; undefined where there is none. */
  readonly inlet: Inlet | undefined;
  /** Ends this server, and (`reset`) starts it again with its configuration read anew. */
  readonly end: (how: Ending) => void;
  /** Aborts when the server is about to stop: a balancer is to send requests elsewhere. */
  readonly leaving: AbortSignal;
  /** Isen's own version. */
  readonly version: string;
}
