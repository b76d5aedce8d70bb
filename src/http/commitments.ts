/** Owns the routes of storage commitment: asking a modality to commit to instances, and what it answered. */

import { z } from '@hono/zod-openapi';
import { FAILURE_REASONS, type Reference } from '../dicom/commitment.ts';
import { generateUid } from '../dicom/ids.ts';
import { LEVELS, type Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import { askCommitment, type CommitmentReport } from '../jobs/commitments.ts';
import { emptyObject, json } from './answers.ts';
import { bodyText } from './body.ts';
import { findModality } from './modalities.ts';
import { jsonObject, Remembered, timeoutOf } from './querying.ts';
import type { Routes } from './routes.ts';
import { ResourceId } from './schemas.ts';
import type { Services } from './services.ts';

const tag = 'Modalities';

/** Instances read at once, and asked about in one request at most. */
const PAGE = 500;
const MOST = 100_000;

const Instance = z.object({ SOPClassUID: z.string(), SOPInstanceUID: z.string() }).openapi('ReferencedInstance');

const badFormat = (details: string): IsenError => new IsenError('BadFileFormat', details);

/** One entry of `DicomInstances`: two texts, or an object of them. Throws BadFileFormat. */
function referenceOf(entry: unknown): Reference {
  if (Array.isArray(entry)) {
    const [sopClassUid, sopInstanceUid] = entry as readonly unknown[];
    if (entry.length === 2 && typeof sopClassUid === 'string' && typeof sopInstanceUid === 'string') {
      return { sopClassUid, sopInstanceUid };
    }
    throw badFormat('An instance entry must provide an array with 2 strings: SOP Class UID and SOP Instance UID');
  }
  if (typeof entry === 'object' && entry !== null) {
    const { SOPClassUID: sopClassUid, SOPInstanceUID: sopInstanceUid } = entry as Record<string, unknown>;
    if (typeof sopClassUid === 'string' && typeof sopInstanceUid === 'string') return { sopClassUid, sopInstanceUid };
    throw badFormat('An instance entry must provide an object with 2 strings: SOPClassUID and SOPInstanceUID');
  }
  throw badFormat('A JSON array or object is expected to specify one instance');
}

/** The instances below a resource of any level. Throws UnknownResource. */
async function* referencesBelow({ database }: Services, id: unknown): AsyncGenerator<Reference, void> {
  if (typeof id !== 'string') throw badFormat('The "Resources" field must provide an array of Orthanc resources');
  let of: { level: Level; id: string } | undefined;
  for (const level of LEVELS) {
    if ((await database.find({ level, id, idsOnly: true })).length > 0) of = { level, id };
  }
  if (of === undefined) throw new IsenError('UnknownResource');
  for (let after: string | undefined; ; ) {
    const page = await database.find({ level: 'Instance', of, limit: PAGE, ...(after !== undefined && { after }) });
    for (const { tags, metadata } of page) {
      const sopInstanceUid = tags['0008,0018']?.trim() ?? '';
      yield { sopClassUid: metadata['SopClassUid']?.value ?? '', sopInstanceUid };
    }
    after = page.at(-1)?.id;
    if (page.length < PAGE) return;
  }
}

/** The instances that a body names. Throws BadFileFormat, UnknownResource. */
async function referencesOf(
  services: Services,
  body: Readonly<Record<string, unknown>>,
): Promise<readonly Reference[]> {
  const { Resources, DicomInstances } = body;
  const references: Reference[] = [];
  const add = (reference: Reference): void => {
    if (references.length >= MOST) throw badFormat(`More than ${MOST} instances in one request`);
    references.push(reference);
  };
  if (Resources !== undefined) {
    if (!Array.isArray(Resources)) throw badFormat('The "Resources" field must provide an array of Orthanc resources');
    for (const id of Resources as readonly unknown[]) for await (const each of referencesBelow(services, id)) add(each);
  }
  if (DicomInstances !== undefined) {
    if (!Array.isArray(DicomInstances)) {
      throw badFormat('The "DicomInstances" field must provide an array of DICOM instances');
    }
    for (const entry of DicomInstances as readonly unknown[]) add(referenceOf(entry));
  }
  if (Resources === undefined && DicomInstances === undefined) {
    const details =
      'Empty storage commitment request, one of these fields is mandatory: "Resources" or "DicomInstances"';
    throw badFormat(details);
  }
  return references;
}

const shown = ({ sopClassUid, sopInstanceUid }: Reference): z.output<typeof Instance> => ({
  SOPClassUID: sopClassUid,
  SOPInstanceUID: sopInstanceUid,
});

function showReport(report: CommitmentReport): Record<string, unknown> {
  return {
    Failures: report.failures.map((each) => ({
      Description: FAILURE_REASONS[each.reason] ?? 'Unknown failure reason',
      FailureReason: each.reason,
      ...shown(each),
    })),
    RemoteAET: report.remoteAet,
    Status: report.status,
    Success: report.success.map(shown),
  };
}

/** Adds the routes of this file. */
export function addCommitments(routes: Routes): void {
  const { services } = routes;
  const reportOf = async (transactionUid: string): Promise<CommitmentReport> => {
    const report = await services.commitments.get(transactionUid);
    if (report !== undefined) return report;
    throw new IsenError('InexistentItem', `No storage commitment transaction with UID: ${transactionUid}`);
  };
  routes.add(
    {
      method: 'post',
      path: '/modalities/{id}/storage-commitment',
      tag,
      summary: 'Asks a modality to commit to the storage of instances',
      body: {
        'application/json': z.object({
          Resources: z.array(ResourceId).optional(),
          DicomInstances: z.array(z.union([Instance, z.array(z.string())])).optional(),
          Timeout: z.number().optional(),
        }),
      },
      answers: { 200: { description: 'The transaction', type: 'application/json', schema: Remembered } },
    },
    async (context) => {
      const body = jsonObject(await bodyText(context), 'Must provide a JSON object with a list of resources');
      const references = await referencesOf(services, body);
      const timeout = timeoutOf(body);
      const modality = await findModality(services, context.req.param('id') ?? '');
      const id = generateUid();
      await askCommitment(services, { modality, transactionUid: id, references, timeout });
      return json({ ID: id, Path: `/storage-commitment/${id}` });
    },
  );
  routes.add(
    {
      method: 'get',
      path: '/storage-commitment/{id}',
      tag,
      summary: 'What a modality answered',
      answers: {
        200: {
          description: 'The report',
          type: 'application/json',
          schema: z.object({
            Failures: z.array(Instance.extend({ Description: z.string(), FailureReason: z.number() })),
            RemoteAET: z.string(),
            Status: z.enum(['Pending', 'Success', 'Failure']),
            Success: z.array(Instance),
          }),
        },
      },
    },
    async (context) => json(showReport(await reportOf(context.req.param('id') ?? ''))),
  );
  routes.add(
    {
      method: 'post',
      path: '/storage-commitment/{id}/remove',
      tag,
      summary: 'Deletes here the instances that a modality has committed to',
      writes: true,
      answers: { 200: { description: 'Done', type: 'application/json', schema: z.object({}) } },
    },
    async (context) => {
      const id = context.req.param('id') ?? '';
      const report = await reportOf(id);
      if (report.status !== 'Success') {
        const state = report.status === 'Pending' ? 'before the result of' : 'after failure in';
        const details = `Cannot remove DICOM instances ${state} storage commitment transaction: ${id}`;
        throw new IsenError('BadSequenceOfCalls', details, { http: 500 });
      }
      for (let at = 0; at < report.success.length; at += PAGE)
        await remove(services, report.success.slice(at, at + PAGE));
      return emptyObject();
    },
  );
}

/** Deletes instances that are here. */
async function remove({ database, ingest }: Services, references: readonly Reference[]): Promise<void> {
  const values = references.map(({ sopInstanceUid }) => sopInstanceUid);
  const classes = new Map(references.map((each) => [each.sopInstanceUid, each.sopClassUid]));
  const found = await database.find({
    level: 'Instance',
    where: [{ tag: '0008,0018', caseSensitive: false, match: 'list', values }],
  });
  for (const { id, tags, metadata } of found) {
    if (classes.get(tags['0008,0018']?.trim() ?? '') !== metadata['SopClassUid']?.value) continue;
    await ingest.apply({ kind: 'delete', level: 'Instance', id });
  }
}
