/** Owns the schemas that several families of routes share. */

import { z } from '@hono/zod-openapi';
import { parseTag } from '../dicom/dictionary.ts';
import type { TagsFormat } from '../dicom/json.ts';
import { LEVELS, type Level } from '../dicom/levels.ts';

import { flag, Text } from './routes.ts';

export const ResourceId = z
  .string()
  .openapi({ description: 'Public id of a resource', example: '66a662ce-7430e543-bad44d47-0dc5a943-ec7a538d' });

const DicomJson = z.record(z.string(), z.unknown()).openapi({ description: 'A data set in JSON' });
const ids = z.array(ResourceId);

const shared = {
  ID: ResourceId,
  Labels: z.array(z.string()),
  MainDicomTags: DicomJson,
  RequestedTags: DicomJson.optional(),
  AnonymizedFrom: ResourceId.optional(),
  ModifiedFrom: ResourceId.optional(),
};
const stable = { IsStable: z.boolean(), LastUpdate: z.string() };

/** One resource, by level. */
export const Resource = {
  Patient: z
    .object({ ...shared, ...stable, IsProtected: z.boolean(), Studies: ids, Type: z.literal('Patient') })
    .openapi('Patient'),
  Study: z
    .object({
      ...shared,
      ...stable,
      ParentPatient: ResourceId,
      PatientMainDicomTags: DicomJson,
      Series: ids,
      Type: z.literal('Study'),
    })
    .openapi('Study'),
  Series: z
    .object({
      ...shared,
      ...stable,
      ExpectedNumberOfInstances: z.number().nullable(),
      Instances: ids,
      ParentStudy: ResourceId,
      Status: z.enum(['Unknown', 'Missing', 'Inconsistent', 'Complete']),
      Type: z.literal('Series'),
    })
    .openapi('Series'),
  Instance: z
    .object({
      ...shared,
      FileSize: z.number(),
      FileUuid: z.string(),
      IndexInSeries: z.number().nullable(),
      ParentSeries: ResourceId,
      Type: z.literal('Instance'),
    })
    .openapi('Instance'),
} satisfies Record<Level, z.ZodType>;

/** A resource named in an answer. */
export const Reference = z.object({ ID: ResourceId, Path: z.string(), Type: z.enum(LEVELS) }).openapi('Reference');

export const Dataset = DicomJson;

/** The query of everything that shows main tags. */
export const formatQuery = { full: flag(), short: flag(), simplify: flag() };

/** Which form the query asks for. */
export function formatOf(query: { full: boolean; short: boolean; simplify: boolean }, initial: TagsFormat): TagsFormat {
  if (query.simplify) return 'Simplify';
  if (query.short) return 'Short';
  if (query.full) return 'Full';
  return initial;
}

/** Tags whose value is shown whatever its length. */
export const ignoreLength = Text.openapi({
  description: 'Tags (`PatientName;0008-0060`, separated by commas or semicolons) whose values are shown at any length',
});

/** The tags (`gggg,eeee`) of `ignore-length`; names that no dictionary has are left out. */
export function ignoredLength(text: string | undefined): string[] {
  return (text ?? '').split(/[,;]/).flatMap((name) => parseTag(name.trim()) ?? []);
}
