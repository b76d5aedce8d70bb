/** Owns how a row that says everything about a resource becomes {@link Found}: both backends select the same columns. */

import { LEVELS, type Level } from '../dicom/levels.ts';
import type { Tags } from '../dicom/summary.ts';
import type { FindRequest, Found } from './database.ts';
import { type AttachmentRow, attachmentOf, metadataOf, publicId, type RowMetadata, type SetMetadata } from './rows.ts';

/** Columns, the JSON ones parsed; the children in no order. Times in seconds since the epoch. */
export interface FoundRow {
  readonly id: string;
  readonly parent: string | null;
  readonly tags: Tags;
  readonly metadata: RowMetadata;
  readonly last_update: number | null;
  readonly set_metadata: SetMetadata;
  /** NULL where they were not asked for. */
  readonly attachments: readonly AttachmentRow[] | null;
  readonly labels: readonly string[];
  readonly unstable: number;
  readonly protected: number;
  readonly children?: readonly string[];
  readonly instance?: InstanceRow | null;
  readonly computed?: ComputedRow;
  readonly [ancestor: `${string}_id`]: AncestorRow;
}

type AncestorRow = readonly [
  id: string,
  tags: Tags,
  metadata: RowMetadata,
  lastUpdate: number,
  setMetadata: SetMetadata,
];
type InstanceRow = readonly [id: string, attachment: AttachmentRow, metadata: RowMetadata, setMetadata: SetMetadata];
type ComputedRow = readonly [
  studies: number,
  series: number,
  instances: number,
  modalities: readonly (string | null)[],
  sopClasses: readonly (string | null)[],
];

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
    tags: row.tags,
    metadata: metadataOf(level, row.metadata, row.last_update, row.set_metadata),
    attachments: row.attachments === null ? [] : row.attachments.map(attachmentOf),
    labels: row.labels,
    isStable: row.unstable === 0,
    isProtected: row.protected === 1,
  };
  if (row.children !== undefined) found.children = row.children.map(publicId).sort();
  if (request.ancestors === true) found.ancestors = ancestorsIn(level, row);
  if (row.instance !== undefined && row.instance !== null) found.instance = instanceIn(row.instance);
  if (row.computed !== undefined) found.computed = computedIn(row.computed);
  return found;
}

function ancestorsIn(level: Level, row: FoundRow): NonNullable<Found['ancestors']> {
  return Object.fromEntries(
    ancestorsOf(level).flatMap((each) => {
      const ancestor = row[`${each}_id`];
      if (ancestor === undefined) return [];
      const [id, tags, metadata, lastUpdate, set] = ancestor;
      return [[each, { id: publicId(id), tags, metadata: metadataOf(each, metadata, lastUpdate, set) }]];
    }),
  );
}

function instanceIn([id, attachment, metadata, set]: InstanceRow): NonNullable<Found['instance']> {
  return {
    id: publicId(id),
    attachment: attachmentOf(attachment),
    metadata: metadataOf('Instance', metadata, null, set),
  };
}

function computedIn([studies, series, instances, modalities, sopClasses]: ComputedRow): NonNullable<Found['computed']> {
  const present = (values: readonly (string | null)[]): string[] => values.filter((value) => value !== null);
  return { studies, series, instances, modalities: present(modalities), sopClasses: present(sopClasses) };
}
