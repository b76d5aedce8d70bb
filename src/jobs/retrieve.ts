/**
 * Owns the jobs that retrieve from a modality, `DicomMoveScu` and `DicomGetScu`: one C-MOVE or C-GET a resource, over one association,
 * going on after a restart with the resource that was under way.
 */

import { z } from 'zod';
import type { Command } from '../dicom/command.ts';
import { uidName } from '../dicom/dictionary.ts';
import { LEVELS } from '../dicom/levels.ts';
import { IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN } from '../dicom/transfer-syntaxes.ts';
import { asIsenError, IsenError } from '../errors.ts';
import { log } from '../log.ts';
import type { Association, DataSink, Message, PresentationContext, ProposedContext } from '../scu/association.ts';
import { MOST_CONTEXTS } from '../scu/contexts.ts';
import { type Dial, over, plainContext } from '../scu/dial.ts';
import type { Modalities, Modality } from '../scu/modality.ts';
import { get, move, type Suboperations } from '../scu/retrieve.ts';
import type { JobRun, WorkingKind } from './kinds.ts';
import { modelOf, retrieveKeys } from './retrieval.ts';

/** Milliseconds that one job may take; what a modality may take for one answer is its own patience. */
const DEADLINE = 24 * 3600 * 1000;

const KeySchema: z.ZodType<{ tag: string; vr: string; value: string }> = z.object({
  tag: z.string(),
  vr: z.string(),
  value: z.string(),
});

const StateSchema = z.object({
  modality: z.string(),
  /** Of C-MOVE. */
  targetAet: z.string(),
  localAet: z.string().optional(),
  /** Seconds. */
  timeout: z.number().optional(),
  /** Goes on after a resource that could not be retrieved. */
  permissive: z.boolean(),
  level: z.enum(LEVELS),
  /** The identifying attributes of each. */
  resources: z.array(z.array(KeySchema)),
  /** How many of them are done. */
  done: z.number(),
});

/** The state of a retrieval, with which it is submitted. */
export type RetrieveState = Readonly<z.output<typeof StateSchema>>;

/** Who stores what C-GET brings. */
export interface Receiving {
  /** Where the data set of a C-STORE request of a modality goes as it comes. */
  sink(modality: Modality, context: PresentationContext, command: Command): DataSink | undefined;
  /** Stores it durably and answers the request. */
  serve(modality: Modality, message: Message, association: Association): Promise<void>;
}

export interface RetrieveRoom {
  readonly dial: Dial;
  readonly modalities: Modalities;
  readonly receiving: Receiving;
  /** SOP classes of which C-GET may bring instances; an association has room for 127 besides the retrieval. */
  readonly storageClasses: readonly string[];
}

/** The kind `DicomMoveScu`. */
export function moveKind(room: RetrieveRoom): WorkingKind {
  return { type: 'DicomMoveScu', deadline: DEADLINE, run: (job, signal) => run(room, 'move', job, signal) };
}

/** The kind `DicomGetScu`. */
export function getKind(room: RetrieveRoom): WorkingKind {
  return { type: 'DicomGetScu', deadline: DEADLINE, run: (job, signal) => run(room, 'get', job, signal) };
}

/**
 * The transfer syntaxes that are met in archives, the one that every peer can send last. All that exist would make a request of a hundred
 * thousand bytes, for which not every peer has room.
 */
const RETRIEVED_SYNTAXES: readonly string[] = [
  EXPLICIT_LITTLE_ENDIAN,
  ...['50', '51', '57', '70', '80', '81', '90', '91', '201', '202', '203', '100', '102', '103', '104'].map(
    (number) => `1.2.840.10008.1.2.4.${number}`,
  ),
  '1.2.840.10008.1.2.5',
  IMPLICIT_LITTLE_ENDIAN,
];

/** Names of classes that few archives have. */
const RARE =
  /^(RETIRED|DRAFT|DICOS|DICONDE)_|Ophthalm|Corneal|Measurements|Spectacle|Intraocular|Protocol|Implant|Tracto|^RT(Radiation|Segment|Physician|Treatment|Ion|B)|SurfaceScan|Respiratory|Voice|Electro(oc|my)/;

/**
 * Contexts in which a peer may send us instances: of the usual classes, and of others while there is room. Instances of any other the
 * peer counts as failed, and so does the job.
 */
function storageContexts(classes: readonly string[]): readonly ProposedContext[] {
  const isRare = (uid: string): boolean => !uid.startsWith('1.2.840.10008.5.1.4.1.1.') || RARE.test(uidName(uid) ?? '');
  return [...classes.filter((uid) => !isRare(uid)), ...classes.filter(isRare)]
    .slice(0, MOST_CONTEXTS - 1)
    .map((abstractSyntax) => ({ abstractSyntax, transferSyntaxes: RETRIEVED_SYNTAXES, role: 'scp' as const }));
}

async function run(
  { dial, modalities, receiving, storageClasses }: RetrieveRoom,
  method: 'move' | 'get',
  job: JobRun,
  signal: AbortSignal,
): Promise<JobRun['content']> {
  const parsed = StateSchema.safeParse(job.state);
  if (!parsed.success) throw new IsenError('BadFileFormat', 'the job is of another version');
  const state = parsed.data;
  const { modality: name, level, localAet, timeout, targetAet, resources, permissive } = state;
  const modality = await modalities.get(name);
  if (modality === undefined) throw new IsenError('InexistentItem', `No modality with symbolic name: ${name}`);
  const sopClass = modelOf(level)[method];
  const sink = (context: PresentationContext, command: Command): DataSink | undefined =>
    receiving.sink(modality, context, command);
  const total = resources.length;
  const retrieve = async (association: Association, at: number): Promise<void> => {
    const request = {
      sopClass,
      keys: retrieveKeys(level, resources[at] ?? []),
      signal,
      progress: ({ remaining, completed, failed, warning }: Suboperations) => {
        const known = remaining + completed + failed + warning;
        job.progress((at + (known === 0 ? 0 : (known - remaining) / known)) / total);
      },
    };
    if (method === 'move') await move(association, targetAet, request);
    else await get(association, request, (message) => receiving.serve(modality, message, association));
  };
  if (state.done >= total) return job.content;
  const contexts = [plainContext(sopClass), ...(method === 'get' ? storageContexts(storageClasses) : [])];
  const options = { localAet, timeout, ...(method === 'get' && { sink }) };
  await over(dial(modality, contexts, options), async (association) => {
    for (let at = state.done; at < total; at += 1) {
      try {
        await retrieve(association, at);
      } catch (thrown) {
        const error = asIsenError(thrown);
        if (!permissive || signal.aborted || association.ended.aborted) throw error;
        log.jobs.warn({ err: error }, 'a resource could not be retrieved');
      }
      job.progress((at + 1) / total);
      await job.checkpoint({ ...state, done: at + 1 });
    }
  });
  return job.content;
}
