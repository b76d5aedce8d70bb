/**
 * Owns which files an archive has, in which order and under which names: the resources that were asked for, as a tree, walked down to
 * the instances page by page, so that the first file is known at once and a large archive takes no memory.
 */

import { type Attachment, type Database, DICOM_ATTACHMENT, type Found, MOST_IDS } from '../database/database.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { FolderNames, fileName, fileNumbers, folderName } from './archive-names.ts';
import type { Asked } from './storing.ts';

/** What of an instance goes into an archive. */
export interface StoredInstance {
  readonly id: string;
  readonly attachment: Attachment;
  /** UID; '' where it is not known. */
  readonly transferSyntax: string;
  /** Bytes before Pixel Data, where it has some. */
  readonly pixelDataOffset: number | undefined;
}

/** A file of an archive. */
export interface ArchiveFile extends StoredInstance {
  /** Public ids. */
  readonly patient: string;
  readonly study: string;
  readonly series: string;
  /** Its name in an archive of folders. */
  readonly name: string;
}

/** Resources read from the index together. */
const PAGE = 1000;
/** Those of one series, a page of which costs a walk through all of it. */
const SERIES_PAGE = 5000;
/** Instances of a series that are put in order; more stay in that of the index. */
const MOST_ORDERED = 20_000;

/** All that is below a resource, or (by public id) parts of it. */
type Branch = 'all' | Map<string, Branch>;

/** Adds one resource, by the ids from the patient down to it. */
function include(tree: Map<string, Branch>, path: readonly string[]): void {
  let at = tree;
  for (const [depth, id] of path.entries()) {
    const branch = at.get(id);
    if (branch === 'all') return;
    if (depth === path.length - 1) {
      at.set(id, 'all');
      return;
    }
    const below = branch ?? new Map<string, Branch>();
    at.set(id, below);
    at = below;
  }
}

async function treeOf(database: Pick<Database, 'find'>, resources: readonly Asked[]): Promise<Map<string, Branch>> {
  const tree = new Map<string, Branch>();
  for (const level of LEVELS) {
    const ids = [...new Set(resources.filter((each) => each.level === level).map(({ id }) => id))];
    for (let at = 0; at < ids.length; at += MOST_IDS) {
      const page = await database.find({ level, ids: ids.slice(at, at + MOST_IDS), ancestors: true });
      for (const { id, ancestors } of page) {
        const above = LEVELS.slice(0, LEVELS.indexOf(level)).map((each) => ancestors?.[each]?.id ?? '');
        include(tree, [...above, id]);
      }
    }
  }
  return tree;
}

/** An instance as archives need it; undefined for one without a file. */
export function storedInstance({ id, attachments, metadata }: Found): StoredInstance | undefined {
  const attachment = attachments.find(({ contentType }) => contentType === DICOM_ATTACHMENT);
  if (attachment === undefined) return undefined;
  const offset = Number(metadata['PixelDataOffset']?.value ?? Number.NaN);
  return {
    id,
    attachment,
    transferSyntax: metadata['TransferSyntax']?.value ?? '',
    pixelDataOffset: offset > 0 ? offset : undefined,
  };
}

/** An instance with its place in the series. */
interface Placed extends StoredInstance {
  readonly index: number | undefined;
}

function placed(found: Found): Placed | undefined {
  const instance = storedInstance(found);
  const index = Number(found.metadata['IndexInSeries']?.value ?? Number.NaN);
  return instance && { ...instance, index: Number.isInteger(index) ? index : undefined };
}

const byIndex = (a: Placed, b: Placed): number =>
  (a.index ?? Number.POSITIVE_INFINITY) - (b.index ?? Number.POSITIVE_INFINITY) || (a.id < b.id ? -1 : 1);

/** Walks the files of `resources`. What is deleted meanwhile is left out. */
export async function* archiveFiles(
  database: Pick<Database, 'find' | 'statistics'>,
  resources: readonly Asked[],
  utf8: boolean,
): AsyncGenerator<ArchiveFile, void> {
  /** What `branch` has of `level` below a resource, page by page in the order of public ids. */
  const children = async function* (
    level: Level,
    of: Asked,
    branch: Branch,
    size: number,
  ): AsyncGenerator<readonly Found[], void> {
    if (branch !== 'all') {
      const ids = [...branch.keys()].sort();
      for (let at = 0; at < ids.length; at += MOST_IDS)
        yield await database.find({ level, ids: ids.slice(at, at + MOST_IDS) });
      return;
    }
    for (let after: string | undefined; ; ) {
      const page = await database.find({ level, of, limit: size, ...(after !== undefined && { after }) });
      yield page;
      after = page.at(-1)?.id;
      if (page.length < size || after === undefined) return;
    }
  };
  const below = (branch: Branch, id: string): Branch => (branch === 'all' ? 'all' : (branch.get(id) ?? 'all'));

  const instances = async function* (series: Found, branch: Branch): AsyncGenerator<readonly [Placed, number], void> {
    const pages = children('Instance', series, branch, SERIES_PAGE);
    let some: Placed[] = [];
    let numbered = 0;
    let ordered: boolean | undefined;
    const take = function* (): Generator<readonly [Placed, number], void> {
      if (ordered === true) some.sort(byIndex);
      const numbers = ordered === true ? fileNumbers(some.map(({ index }) => index)) : [];
      for (const [place, instance] of some.entries()) yield [instance, numbers[place] ?? numbered + place];
      numbered += some.length;
      some = [];
    };
    for await (const page of pages) {
      for (const found of page) {
        const instance = placed(found);
        if (instance !== undefined) some.push(instance);
      }
      // Known after the first page: nobody waits for the others in vain.
      ordered ??= page.length < SERIES_PAGE || ((await database.statistics(series))?.instances ?? 0) <= MOST_ORDERED;
      if (!ordered) yield* take();
    }
    yield* take();
  };

  const tree = await treeOf(database, resources);
  const patientNames = new FolderNames();
  for (const id of [...tree.keys()].sort()) {
    const [patient] = await database.find({ level: 'Patient', id });
    if (patient === undefined) continue;
    const patientFolder = patientNames.unique(folderName('Patient', patient.tags, utf8));
    const studyNames = new FolderNames();
    const studies = tree.get(id) ?? 'all';
    for await (const studyPage of children('Study', patient, studies, PAGE)) {
      for (const study of studyPage) {
        const studyFolder = studyNames.unique(folderName('Study', study.tags, utf8));
        const seriesNames = new FolderNames();
        const seriesBranch = below(studies, study.id);
        for await (const seriesPage of children('Series', study, seriesBranch, PAGE)) {
          for (const series of seriesPage) {
            const folder = seriesNames.unique(folderName('Series', series.tags, utf8));
            const modality = series.tags['0008,0060'] ?? '';
            for await (const [instance, number] of instances(series, below(seriesBranch, series.id))) {
              yield {
                ...instance,
                patient: patient.id,
                study: study.id,
                series: series.id,
                name: `${patientFolder}/${studyFolder}/${folder}/${fileName(modality, number)}`,
              };
            }
          }
        }
      }
    }
  }
}

/** Instances that an archive of `resources` has, as far as they tell apart: one that is named twice counts twice. */
export async function countInstances(
  database: Pick<Database, 'statistics'>,
  resources: readonly Asked[],
): Promise<number> {
  let count = 0;
  for (const { level, id } of resources) {
    count += LEVEL[level].child === undefined ? 1 : ((await database.statistics({ level, id }))?.instances ?? 0);
  }
  return count;
}
