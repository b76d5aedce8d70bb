/** Owns how a row that says everything about a resource becomes {@link Found}: both backends select the same columns. */

import { LEVELS, type Level } from '../dicom/levels.ts';
import type { Tags } from '../dicom/summary.ts';
import type { FindRequest, Found } from './database.ts';
import { type AttachmentRow, attachmentOf, metadataOf, publicId, type RowMetadata, type SetMetadata } from './rows.ts';

/** Columns; JSON ones are text, the children in no order. Times in seconds since the epoch. */
export interface FoundRow {
  readonly id: string;
  readonly parent: string | null;
  readonly tags: string;
  readonly metadata: string;
  readonly last_update: number | null;
  /** NULL may stand for an empty one, as for the next two. */
  readonly set_metadata: string | null;
  readonly attachments: string | null;
  readonly labels: string | null;
  readonly unstable: number;
  readonly protected: number;
  readonly children?: string;
  readonly instance?: string | null;
  readonly computed?: string;
  readonly [ancestor: `${string}_id`]: string;
}

/** The levels above `level`, the nearest first. */
export function ancestorsOf(level: Level): readonly Level[] {
  return LEVELS.slice(0, LEVELS.indexOf(level)).reverse();
}

/** A resource of which only the id was asked. */
export function bareFound(level: Level, id: string): Found {
  return {
    level,
    id,
    parent: undefined,
    tags: {},
    metadata: {},
    attachments: [],
    labels: [],
    isStable: false,
    isProtected: false,
  };
}

export function foundOf(request: FindRequest, row: FoundRow): Found {
  const { level } = request;
  const found: { -readonly [Key in keyof Found]: Found[Key] } = {
    level,
    id: publicId(row.id),
    parent: row.parent === null ? undefined : publicId(row.parent),
    tags: JSON.parse(row.tags) as Tags,
    metadata: metadataOf(
      level,
      JSON.parse(row.metadata) as RowMetadata,
      row.last_update,
      row.set_metadata === null ? undefined : (JSON.parse(row.set_metadata) as SetMetadata),
    ),
    attachments: row.attachments === null ? [] : (JSON.parse(row.attachments) as AttachmentRow[]).map(attachmentOf),
    labels: row.labels === null ? [] : (JSON.parse(row.labels) as string[]),
    isStable: row.unstable === 0,
    isProtected: row.protected === 1,
  };
  if (row.children !== undefined) found.children = (JSON.parse(row.children) as string[]).map(publicId).sort();
  if (request.ancestors === true) found.ancestors = ancestorsIn(level, row);
  if (typeof row.instance === 'string') found.instance = instanceIn(row.instance);
  if (row.computed !== undefined) found.computed = computedIn(row.computed);
  return found;
}

function ancestorsIn(level: Level, row: FoundRow): NonNullable<Found['ancestors']> {
  return Object.fromEntries(
    ancestorsOf(level).map((each) => {
      const [id, tags, metadata, lastUpdate, set] = JSON.parse(row[`${each}_id`] ?? '[]') as [
        string,
        Tags,
        RowMetadata,
        number,
        SetMetadata,
      ];
      return [each, { id: publicId(id), tags, metadata: metadataOf(each, metadata, lastUpdate, set) }];
    }),
  );
}

function instanceIn(text: string): NonNullable<Found['instance']> {
  const [id, attachment, metadata, set] = JSON.parse(text) as [string, AttachmentRow, RowMetadata, SetMetadata];
  return {
    id: publicId(id),
    attachment: attachmentOf(attachment),
    metadata: metadataOf('Instance', metadata, null, set),
  };
}

function computedIn(text: string): NonNullable<Found['computed']> {
  const [studies, series, instances, modalities, sopClasses] = JSON.parse(text) as [
    number,
    number,
    number,
    (string | null)[],
    (string | null)[],
  ];
  const present = (values: (string | null)[]): string[] => values.filter((value) => value !== null);
  return { studies, series, instances, modalities: present(modalities), sopClasses: present(sopClasses) };
}
