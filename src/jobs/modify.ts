/**
 * Owns modification and anonymisation of what is stored: a job walks the instances that its request names, a worker changes each,
 * and ingest takes the results in like any upload. New identifiers are made from the id of the job: a run that follows a crash
 * makes the same instances again, and doubles nothing.
 */

import { randomUUID } from 'node:crypto';
import type { Database, Found, Operation } from '../database/database.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { levelsMapped, type Request } from '../dicom/modification.ts';
import { type MappedLevel, sharedKeys, uidKey } from '../dicom/uid-map.ts';
import { IsenError } from '../errors.ts';
import { type Asked, requestOf } from '../imaging/modify.ts';
import type { Ingest, Reception } from '../ingest/ingest.ts';
import { storeMade } from '../ingest/made.ts';
import type { Reconstruction } from '../ingest/reconstruction.ts';
import { log } from '../log.ts';
import type { Jobs } from './jobs.ts';
import type { Content, JobRun } from './kinds.ts';
import type { Modifier } from './modifier.ts';

/** A resource as jobs name it. */
export interface Resource {
  readonly level: Level;
  readonly id: string;
}

/** What a request wants done. */
export interface ModificationOrder extends Asked {
  /** `Type` of the job. */
  readonly type: ModificationType;
  /** What is to be changed: one resource, or (`bulk`) several whose results are all named. */
  readonly resources: readonly Resource[];
  readonly bulk: boolean;
  /** Whether the sources stay; undefined where the body says so. */
  readonly keepSource?: boolean;
  /** More of the content of the job. */
  readonly about?: Content;
  readonly permissive: boolean;
  readonly priority: number;
  readonly userData?: unknown;
  /** Who asked: the results have come from there. */
  readonly remoteIp: string;
  readonly username: string;
}

export const MODIFICATION_TYPES = ['ResourceModification', 'SplitStudy', 'MergeStudy'] as const;

export type ModificationType = (typeof MODIFICATION_TYPES)[number];

export interface Modifications {
  /**
   * Queues a job. Answers its id. Throws UnknownResource, BadRequest where several instances would get one SOPInstanceUID, and what
   * reading the request throws.
   */
  submit(order: ModificationOrder): Promise<string>;
  /** The changed file of one instance, which is not stored. Throws UnknownResource, and what changing it throws. */
  file(id: string, asked: Asked): Promise<Uint8Array<ArrayBuffer>>;
  /** The next name of an anonymised patient. */
  nextPatientName(): Promise<string>;
}

export interface ModificationsOptions {
  readonly database: Database;
  readonly ingest: Ingest;
  readonly jobs: Jobs;
  readonly modifier: Modifier;
  readonly reconstruction: Reconstruction;
}

/** The durable state of a job. */
interface State extends Omit<ModificationOrder, 'priority' | 'userData'> {
  /** Public ids of the instances, in the order of the work. */
  readonly instances: readonly string[];
  /** How many of them are done, failures included. */
  readonly done: number;
  readonly failed: number;
  /** Public ids of the results by level. */
  readonly made: Readonly<Record<Level, readonly string[]>>;
}

/** Instances read from the index together. */
const PAGE = 1000;
/** Instances that go together when the sources are deleted. */
const BATCH = 64;
/** Instances at the same time: while some are changed, others are made durable together. */
const LANES = 16;
/** Milliseconds between two checkpoints. */
const CHECKPOINT = 2000;
/** Milliseconds that one job may take: it may be of a whole archive. */
const JOB_DEADLINE = 7 * 24 * 3600_000;

const NOTHING_MADE: State['made'] = { Patient: [], Study: [], Series: [], Instance: [] };

/** From the nearest on. */
const PARENTS = ['Series', 'Study', 'Patient'] as const;

/** Registers the kinds of jobs; before the start of `jobs`. */
export function createModifications(options: ModificationsOptions): Modifications {
  const { database, ingest, jobs, modifier, reconstruction } = options;

  /** Every resource of `level` that is below, above or one of a resource, page by page. */
  const walk = async function* (level: Level, of: Resource, idsOnly: boolean): AsyncGenerator<Found, void> {
    for (let after: string | undefined; ; ) {
      const page = await database.find({ level, of, limit: PAGE, idsOnly, ...(after !== undefined && { after }) });
      yield* page;
      after = page.at(-1)?.id;
      if (page.length < PAGE || after === undefined) return;
    }
  };

  /** The UIDs of the set, in memory that every worker reads. */
  const levelsOf = async (state: State, request: Request): Promise<MappedLevel[]> => {
    const levels: MappedLevel[] = [];
    for (const { level, becomes } of levelsMapped(request, state.level)) {
      const keys = new Set<bigint>();
      for (const resource of state.resources) {
        for await (const { tags } of walk(level, resource, false)) {
          const uid = tags[LEVEL[level].key]?.trim();
          if (uid) keys.add(uidKey(uid));
        }
      }
      levels.push({ uids: sharedKeys([...keys]), becomes });
    }
    return levels;
  };

  /** What is overwritten leaves the tags of the series, studies and patients above as they were: one instance of each series says them. */
  const renewParents = async (series: Iterable<string>, signal: AbortSignal): Promise<void> => {
    for (const id of series) {
      signal.throwIfAborted();
      const of = { level: 'Series', id } as const;
      const [instance] = await database.find({ level: 'Instance', of, limit: 1, idsOnly: true });
      if (instance !== undefined)
        await reconstruction.run({ of: { level: 'Instance', id: instance.id }, files: false, signal });
    }
  };

  const run = async (job: JobRun, signal: AbortSignal): Promise<Content> => {
    let state = job.state as State;
    const request = requestOf(state);
    const task = {
      body: state.body,
      level: state.level,
      ...(state.patientName !== undefined && { patientName: state.patientName }),
      seed: job.id,
      levels: await levelsOf(state, request),
    };
    const made = Object.fromEntries(LEVELS.map((level) => [level, new Set(state.made[level])])) as Record<
      Level,
      Set<string>
    >;
    const name = request.profile === undefined ? 'ModifiedFrom' : 'AnonymizedFrom';
    let { failed } = state;

    /** Says of a new parent what it was made from. */
    const derive = async (level: Level, id: string, source: Resource | undefined): Promise<void> => {
      if (made[level].has(id)) return;
      made[level].add(id);
      // The study that others are merged into was there before.
      const given = state.type === 'MergeStudy' && level !== 'Series';
      if (source === undefined || source.id === id || given) return;
      const operations: Operation[] = [{ kind: 'metadata', level, id, name, value: source.id }];
      if (request.keepLabels) {
        const [found] = await database.find(source);
        for (const label of found?.labels ?? []) operations.push({ kind: 'label', level, id, label, present: true });
      }
      await ingest.applyAll(operations);
    };

    const change = async (id: string): Promise<void> => {
      await modifier.parsed(id, task, async ({ bytes, parsed }, source) => {
        const reception: Reception = {
          origin: 'RestApi',
          remoteIp: state.remoteIp,
          remoteAet: '',
          username: state.username,
          metadata: { [name]: id },
          ...(request.force && { overwrite: true }),
        };
        const { ids } = await storeMade(ingest, bytes, reception, parsed);
        made.Instance.add(ids.Instance);
        for (const label of request.keepLabels ? source.labels : [])
          await ingest.apply({ kind: 'label', level: 'Instance', id: ids.Instance, label, present: true });
        for (const level of PARENTS) {
          const above = source.ancestors?.[level];
          await derive(level, ids[level], above && { level, id: above.id });
        }
      });
    };

    const snapshot = (done: number): State => ({
      ...state,
      done,
      failed,
      made: {
        Patient: [...made.Patient],
        Study: [...made.Study],
        Series: [...made.Series],
        Instance: [...made.Instance],
      },
    });

    const { instances } = state;
    /** Of those behind the first that is not: false for one that failed. */
    const finished = new Map<number, boolean>();
    let { done } = state;
    let saved = Date.now();
    let next = done;
    const save = async (): Promise<void> => {
      saved = Date.now();
      state = snapshot(done);
      await job.checkpoint(state, contentOf(state));
    };
    const finish = (at: number, isMade: boolean): void => {
      finished.set(at, isMade);
      for (let made = finished.get(done); made !== undefined; made = finished.get(done)) {
        finished.delete(done);
        done += 1;
        if (!made) failed += 1;
      }
      job.progress(done / instances.length);
    };
    const lane = async (): Promise<void> => {
      for (let id = instances[next]; id !== undefined; id = instances[next]) {
        signal.throwIfAborted();
        const at = next;
        next += 1;
        let isMade = true;
        try {
          await change(id);
        } catch (thrown) {
          if (!state.permissive || isOurs(thrown)) {
            next = instances.length;
            throw thrown;
          }
          log.jobs.warn({ err: thrown }, `instance ${id} is left out of job ${job.id}`);
          isMade = false;
        }
        finish(at, isMade);
        if (Date.now() - saved > CHECKPOINT) await save();
      }
    };
    const lanes = await Promise.allSettled(Array.from({ length: LANES }, lane));
    for (const each of lanes) if (each.status === 'rejected') throw each.reason;
    if (done > state.done) await save();
    if (request.force) await renewParents(made.Series, signal);
    if (!(state.keepSource ?? request.keepSource)) {
      const gone = instances.filter((id) => !made.Instance.has(id));
      for (let at = 0; at < gone.length; at += BATCH) {
        signal.throwIfAborted();
        await ingest.applyAll(gone.slice(at, at + BATCH).map((id) => ({ kind: 'delete', level: 'Instance', id })));
      }
    }
    return resultOf(state, made);
  };

  for (const type of MODIFICATION_TYPES) jobs.register({ type, deadline: JOB_DEADLINE, run });

  /** The names of patients are given one after another. */
  let naming: Promise<unknown> = Promise.resolve();

  return {
    async submit({ priority, userData, ...order }) {
      const request = requestOf(order);
      const instances = new Set<string>();
      for (const resource of order.resources) {
        const before = instances.size;
        for await (const { id } of walk('Instance', resource, true)) instances.add(id);
        if (instances.size > before) continue;
        const [found] = await database.find({ level: resource.level, id: resource.id, idsOnly: true });
        if (found === undefined) throw new IsenError('UnknownResource');
      }
      const { becomes } = levelsMapped(request, order.level).find(({ level }) => level === 'Instance') ?? {};
      // Each would overwrite the one before, and the sources may go.
      if (typeof becomes === 'object' && instances.size > 1)
        throw new IsenError('BadRequest', `${instances.size} instances cannot have the same SOPInstanceUID`);
      const state: State = { ...order, instances: [...instances], done: 0, failed: 0, made: NOTHING_MADE };
      return jobs.submit({
        type: order.type,
        content: contentOf(state),
        state,
        priority,
        ...(userData !== undefined && { userData }),
      });
    },
    file: (id, asked) => modifier.changed(id, { ...asked, seed: randomUUID() }, async (bytes) => bytes),
    nextPatientName() {
      const next = naming.then(async () => {
        const number = Number((await database.property(SEQUENCE)) ?? 0) + 1;
        await ingest.apply({ kind: 'property', name: SEQUENCE, value: String(number) });
        return `Anonymized${number}`;
      });
      naming = next.catch(() => {});
      return next;
    },
  };
}

/** Name of the property that counts anonymised patients. */
const SEQUENCE = 'AnonymizationSequence';

/** Whether an error says nothing about the instance: the server is full or stops, and the job goes on another time. */
function isOurs(thrown: unknown): boolean {
  return thrown instanceof IsenError && ['Busy', 'FullStorage', 'DatabaseUnavailable'].includes(thrown.code);
}

/** What the job shows while it works. */
function contentOf(state: State): Content {
  const single = !state.bulk && state.type === 'ResourceModification';
  return {
    Description: 'REST API',
    FailedInstancesCount: state.failed,
    InstancesCount: state.instances.length,
    ...(state.type === 'ResourceModification' && { IsAnonymization: state.patientName !== undefined }),
    ParentResources: state.resources.map(({ id }) => id),
    ...(single && { Resources: state.resources.map(({ id, level }) => ({ ID: id, Type: level })), Type: state.level }),
    ...(typeof state.body['Transcode'] === 'string' && { Transcode: state.body['Transcode'] }),
    ...state.about,
  };
}

/** What it shows in the end: which resources it made. */
function resultOf(state: State, made: Readonly<Record<Level, ReadonlySet<string>>>): Content {
  const content = contentOf(state);
  const { type, level, bulk } = state;
  if (bulk) {
    const resources = (['Instance', 'Patient', 'Series', 'Study'] as const).flatMap((each) =>
      [...made[each]].sort().map((id) => ({ ID: id, Path: `/${LEVEL[each].path}/${id}`, Type: each })),
    );
    return sorted({ ...content, Resources: resources });
  }
  const [id] = made[level];
  if (id === undefined) return sorted(content);
  const [patient] = made.Patient;
  if (type !== 'ResourceModification') return sorted({ ...content, TargetStudy: id });
  return sorted({ ...content, ID: id, Path: `/${LEVEL[level].path}/${id}`, PatientID: patient });
}

const sorted = (content: Content): Content =>
  Object.fromEntries(Object.entries(content).sort(([a], [b]) => (a < b ? -1 : 1)));
