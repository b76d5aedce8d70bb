/**
 * Owns the composition: configuration → backends → ingest → doors, and closing them in reverse order.
 */

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { setEnvironmentData } from 'node:worker_threads';
import type { Answer } from './answer.ts';
import { openDatabase, openRedis, openStorage } from './backends.ts';
import type { Changes } from './changes/changes.ts';
import { createEmbeddedChanges } from './changes/embedded.ts';
import { openRedisChanges } from './changes/redis.ts';
import type { Config } from './config.ts';
import { MIGRATION } from './database/copy.ts';
import type { Database } from './database/database.ts';
import { DICTIONARY_ADDITIONS, type DictionaryAdditions, extendDictionary, parseTag } from './dicom/dictionary.ts';
import { keepBesides, type Level } from './dicom/levels.ts';
import type { Batch, ParsedFile } from './storage/parse-and-put.ts';
import { IsenError } from './errors.ts';
import { createHttp } from './http/app.ts';
import type { Ending } from './http/services.ts';
import { createHeaders } from './ingest/header.ts';
import { createCreator } from './ingest/made.ts';
import { createPictures } from './ingest/pictures.ts';
import { createReconstruction } from './ingest/reconstruction.ts';
import { openIngest } from './ingest/reception.ts';
import { openInlet } from './inlet.ts';
import { openBullQueue } from './jobs/bullmq.ts';
import { createTranscoder } from './ingest/transcoder.ts';
import { openEmbeddedQueue } from './jobs/embedded.ts';
import { AssociationLines } from './jobs/association-line.ts';
import { openModalities } from './jobs/modalities.ts';
import { peerTarget } from './jobs/peer-line.ts';
import { openPeers } from './jobs/peers.ts';
import { openRouter } from './jobs/route.ts';
import { openStores } from './jobs/store.ts';
import { peerStoreKind } from './jobs/storing.ts';
import { openWebhooks } from './jobs/webhooks.ts';
import { createArchives } from './jobs/archive.ts';
import { createModifier } from './jobs/modifier.ts';
import { createModifications } from './jobs/modify.ts';
import { openSettings } from './jobs/settings.ts';
import { createHttpClient } from './outgoing.ts';
import { createPool } from './pool.ts';
import { watchThreads } from './priority.ts';
import type { RedisConnection } from './redis.ts';
import { createDial } from './scu/dial.ts';
import { requestAssociation } from './scu/requestor.ts';
import { commitmentKind, createCommitments } from './jobs/commitments.ts';
import { committingStoreKind } from './jobs/committing.ts';
import { createEngine } from './jobs/engine.ts';
import { getKind, moveKind } from './jobs/retrieve.ts';
import { createCommitment } from './scp/commitment.ts';
import { STORAGE_CLASSES } from './dicom/storage-classes.ts';
import { receivingFrom } from './scp/receiving.ts';
import { createQueries } from './jobs/queries.ts';
import { createFind } from './scp/find.ts';
import { createGet } from './scp/get.ts';
import { createMove } from './scp/move.ts';
import { clientTls } from './scu/tls.ts';
import { echo } from './scp/echo.ts';
import { createDicomServer } from './scp/server.ts';
import { createStore } from './scp/store.ts';

/** Bytes of a megabyte, as the options count. */
const MB = 2 ** 20;

/** Milliseconds that requests under way have to end when the server stops. */
const GRACE = 10_000;

/** Entries that one queue may have: some hundreds of megabytes of the index. */
const QUEUE_CAPACITY = 1_000_000;

export interface StartOptions {
  readonly config: Config;
  /** A client asked for the end of the server (`/tools/shutdown`, `/tools/reset`), which is its owner's to bring about. */
  readonly onEnding?: (how: Ending) => void;
}

/** A running server. */
export interface Server {
  /** Where the REST API answers; undefined when it is not served. */
  readonly url: string | undefined;
  /** Where DICOM associations are accepted; undefined when none are. */
  readonly dicomPort: number | undefined;
  /** Is not ready any more for `ShutdownDelay` seconds, then takes nothing new, finishes what was accepted, closes every file. */
  close(): Promise<void>;
}

/** The tags of `ExtraMainDicomTags` by level. Throws UnknownDicomTag. */
function extraMainTags(option: Config['ExtraMainDicomTags']): Partial<Record<Level, string[]>> {
  return Object.fromEntries(
    Object.entries(option).map(([level, names = []]) => [
      level,
      names.map((name) => {
        const tag = parseTag(name);
        if (tag === undefined) throw new IsenError('UnknownDicomTag', `ExtraMainDicomTags: ${name}`);
        return tag;
      }),
    ]),
  );
}

/** What the configuration adds to the data dictionary. */
function dictionaryAdditions(
  config: Pick<Config, 'Dictionary' | 'DefaultPrivateCreator' | 'LoadPrivateDictionary'>,
): DictionaryAdditions {
  return {
    entries: Object.entries(config.Dictionary).map(([key, [vr, keyword, least = 1, most = 1, creator]]) => {
      const [group, element] = [key.slice(0, 4), key.slice(4).replace(/^[,-]/, '')];
      return {
        tag: Number.parseInt(group, 16) * 0x10000 + Number.parseInt(element, 16),
        vr,
        keyword,
        vm: least === most ? `${least}` : `${least}-${most === 0 ? 'n' : most}`,
        creator: creator ?? config.DefaultPrivateCreator,
      };
    }),
    defaultCreator: config.DefaultPrivateCreator,
    withMakers: config.LoadPrivateDictionary,
  };
}

/** Starts a server. Throws IsenError with what the operator can do about it; nothing runs then. */
export async function start({ config: configured, onEnding = () => {} }: StartOptions): Promise<Server> {
  /** In order of opening. */
  const closers: (() => Promise<void>)[] = [];
  const leaving = new AbortController();
  const close = async (): Promise<void> => {
    for (let closer = closers.pop(); closer !== undefined; closer = closers.pop()) await closer();
  };
  try {
    const extra = extraMainTags(configured.ExtraMainDicomTags);
    keepBesides(extra);
    // Before any worker starts: it inherits them.
    setEnvironmentData(DICTIONARY_ADDITIONS, dictionaryAdditions(configured));
    extendDictionary();
    const unwatch = watchThreads();
    closers.push(async () => unwatch());
    const database = await openDatabase(configured, closers, extra);
    closers.push(() => database.close());
    if ((await database.property(MIGRATION)) !== undefined)
      throw new IsenError('Database', 'the index is half of a migration: let isen migrate finish it');
    const storage = await openStorage(configured, closers);
    const redis = await openRedis(configured, closers);
    const changes = await openChanges(redis, database, closers);
    const parsers = createPool<Batch, readonly Answer<ParsedFile>[]>({
      file: 'parse',
      // One of them waits for the disk.
      threads: availableParallelism() + 1,
      deadline: 60_000,
      workerData: extra,
    });
    closers.push(() => parsers.close());
    const transcoder = createTranscoder({
      storage,
      quality: configured.DicomLossyTranscodingQuality,
      cached: configured.TranscoderCacheSize * MB,
    });
    closers.push(() => transcoder.close());
    const transcoding =
      configured.IngestTranscoding === ''
        ? undefined
        : transcoder.ingest(configured.IngestTranscoding, {
            ofUncompressed: configured.IngestTranscodingOfUncompressed,
            ofCompressed: configured.IngestTranscodingOfCompressed,
            hash: configured.StoreMD5ForAttachments,
          });
    const ingest = await openIngest({
      database,
      storage,
      changes,
      parsers,
      overwrite: configured.OverwriteInstances,
      hash: configured.StoreMD5ForAttachments,
      compress: configured.StorageCompression,
      budget: configured.MaximumInFlightMB * MB,
      largestBody: configured.MaximumRequestBodySizeMB * MB || Number.POSITIVE_INFINITY,
      minimumFree: configured.MinimumFreeDiskMB * MB,
      // The log of Redis has what was announced only.
      announcesLater: redis === undefined,
      ...(transcoding && { transcoding }),
    });
    closers.push(() => ingest.close());
    const headers = createHeaders(storage);
    closers.push(() => headers.close());
    const queue =
      redis === undefined
        ? await openEmbeddedQueue({ database, commit: ingest.applyAll, capacity: QUEUE_CAPACITY })
        : await openBullQueue({ redis, capacity: QUEUE_CAPACITY });
    closers.push(() => queue.close());
    const shared = { database, apply: ingest.apply, queue };
    const settings = await openSettings({ ...shared, configured });
    closers.push(async () => settings.close());
    const { config } = settings;
    const modalities = openModalities({ ...shared, config });
    const storeService = createStore(ingest, config);
    const dial = createDial({
      connect: requestAssociation,
      aet: config.DicomAet,
      timeout: config.DicomScuTimeout,
      maximumPdu: config.MaximumPduLength,
      tls: clientTls(config),
    });
    const peers = openPeers({ ...shared, config });
    const outgoing = createHttpClient(config);
    const allowed = config.OutgoingHttpAllowed;
    const webhooks = await openWebhooks({
      configured: config.Webhooks,
      allowed,
      database,
      changes,
      queue,
      client: outgoing,
      apply: ingest.apply,
    });
    closers.push(() => webhooks.close());
    const modifier = createModifier({
      database,
      storage,
      hash: configured.StoreMD5ForAttachments,
      mainTags: extra,
    });
    closers.push(() => modifier.close());
    const stores = await openStores({
      config,
      queue,
      database,
      storage,
      transcoder,
      modifier,
      targets: {
        modality: (name) => {
          const { DicomScuPreferredTransferSyntax: preferred, TranscodeDicomProtocol: transcoding } = config;
          const lines = new AssociationLines({ dial, preferred, transcoding });
          return async () => {
            const modality = await modalities.get(name);
            return modality && lines.target(modality);
          };
        },
        peer: (name) => async () => {
          const peer = await peers.get(name);
          return peer && peerTarget(peer, outgoing, allowed);
        },
        webhook: (name) => () => webhooks.target(name),
      },
      commit: ingest.applyAll,
    });
    closers.push(() => stores.close());
    const router = await openRouter({
      configured: config.Routes,
      database,
      changes,
      queue,
      modalities,
      peers,
      headers,
      apply: ingest.apply,
    });
    closers.push(() => router.close());
    const commitments = createCommitments(queue, config.StorageCommitmentReportsSize);
    const jobs = createEngine({
      queue,
      storage,
      concurrent: config.ConcurrentJobs,
      history: config.JobsHistorySize,
      // What one server starts with is what the others are doing.
      save: config.SaveJobs || redis !== undefined,
      outputs: config.MediaArchiveSize,
    });
    const receiving = receivingFrom(storeService, config.DicomAet);
    const retrieving = { dial, modalities, receiving, storageClasses: [...STORAGE_CLASSES] };
    jobs.register(committingStoreKind({ database, dial, modalities, commitments }));
    jobs.register(peerStoreKind);
    jobs.register(moveKind(retrieving));
    jobs.register(getKind(retrieving));
    jobs.register(commitmentKind({ database, storage, dial, modalities }));
    const { applyAll } = ingest;
    const reconstruction = createReconstruction({ config, database, storage, parsers, transcoder, applyAll });
    const modifications = createModifications({ database, ingest, jobs, modifier, reconstruction });
    const archives = createArchives({ database, storage, transcoder, jobs });
    closers.push(() => archives.close());
    await jobs.start();
    closers.push(() => jobs.close());
    const queries = createQueries(queue, config.QueryRetrieveSize);
    let url: string | undefined;
    if (config.HttpServerEnabled) {
      const pictures = createPictures(headers);
      closers.push(() => pictures.close());
      const creator = createCreator();
      closers.push(() => creator.close());
      const inlet = openInlet();
      closers.push(async () => inlet?.close());
      const http = await createHttp({
        config,
        database,
        storage,
        changes,
        ingest,
        headers,
        reconstruction,
        pictures,
        transcoder,
        modalities,
        dial,
        queries,
        queue,
        jobs,
        modifications,
        archives,
        creator,
        commitments,
        stores,
        router,
        peers,
        webhooks,
        outgoing,
        settings,
        inlet,
        leaving: leaving.signal,
        end: onEnding,
        version: version(),
      });
      const { port } = await http.listen();
      closers.push(() => http.close(GRACE));
      url = `http${config.SslEnabled ? 's' : ''}://127.0.0.1:${port}`;
    }
    let dicomPort: number | undefined;
    if (config.DicomServerEnabled) {
      const room = { config, database, headers, storage, transcoder, modalities, dial, queue, jobs, commitments };
      const services = [
        echo,
        storeService,
        createFind(room),
        createMove(room),
        createGet(room),
        createCommitment(room),
      ];
      const dicom = await createDicomServer({ config, modalities, services });
      dicomPort = (await dicom.listen()).port;
      closers.push(() => dicom.close(GRACE));
    }
    return {
      url,
      dicomPort,
      async close() {
        leaving.abort();
        await sleep(config.ShutdownDelay * 1000);
        await close();
      },
    };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/** The log of changes: of all servers, or of this one. */
async function openChanges(
  redis: RedisConnection | undefined,
  database: Database,
  closers: (() => Promise<void>)[],
): Promise<Changes> {
  if (redis === undefined) return createEmbeddedChanges(database);
  const changes = await openRedisChanges(redis, database);
  closers.push(() => changes.close());
  return changes;
}

/** Our own version, of package.json. */
function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return version;
}
