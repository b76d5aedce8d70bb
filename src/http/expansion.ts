/**
 * Owns how a found resource looks in JSON: its fields by level, its main tags in one of Orthanc's formats, and the tags
 * that a request asks for besides.
 */

import { COMPUTED, COMPUTED_TAGS } from '../database/computed.ts';
import { DICOM_ATTACHMENT, type FindRequest, type Found, type RevisedAttachment } from '../database/database.ts';
import { lookup, parseTag, tagName, tagNumber } from '../dicom/dictionary.ts';
import type { TagsFormat } from '../dicom/json.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import type { Tags } from '../dicom/summary.ts';
import { IsenError } from '../errors.ts';
import { metadataValues } from './metadata-names.ts';
import type { Services } from './services.ts';

interface FullElement {
  readonly Name: string;
  readonly Type: string;
  readonly Value: unknown;
}
type FullDataset = Readonly<Record<string, FullElement>>;

/** A data set of the `full` form in another. */
function reshape(dataset: FullDataset, format: TagsFormat): Record<string, unknown> {
  if (format === 'Full') return { ...dataset };
  const entries = Object.entries(dataset).map(([tag, element]): [string, unknown] => [
    format === 'Short' ? tag : element.Name,
    Array.isArray(element.Value) ? element.Value.map((item) => reshape(item as FullDataset, format)) : element.Value,
  ]);
  return Object.fromEntries(format === 'Short' ? entries : entries.sort(byKey));
}

const byKey = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : a > b ? 1 : 0);

/** The sequences among the main tags of a resource. */
function mainSequences(metadata: Found['metadata']): FullDataset {
  const text = metadata['MainDicomSequences']?.value;
  return text === undefined ? {} : (JSON.parse(text) as { readonly Sequences: FullDataset }).Sequences;
}

/** What each main tag is called in an answer, and whether it is the patient's; in the order in which they are shown. */
type Order = readonly { readonly tag: string; readonly key: string; readonly ofPatient: boolean }[];
/** By format and tags. */
const ORDERS = new Map<string, Order>();
/** Resources of one server have few different sets of main tags. */
const MOST_ORDERS = 1024;
/** The main tags of patients that {@link ORDERS} are of. */
let ordersOf: readonly string[] = [];
/** The last of them: what is shown together mostly has the same tags. */
let latest: { readonly tags: readonly string[]; readonly format: TagsFormat; readonly order: Order } | undefined;

/** The order in which main tags are shown: sorting them anew for each of many resources costs more than the rest of their text. */
function orderOf(tags: readonly string[], format: TagsFormat): Order {
  const { mainDicomTags } = LEVEL.Patient;
  const isLatest =
    ordersOf === mainDicomTags &&
    latest?.format === format &&
    latest.tags.length === tags.length &&
    latest.tags.every((tag, at) => tag === tags[at]);
  if (isLatest && latest !== undefined) return latest.order;
  if (ordersOf !== mainDicomTags || ORDERS.size >= MOST_ORDERS) ORDERS.clear();
  ordersOf = mainDicomTags;
  const shape = `${format} ${tags.join()}`;
  let order = ORDERS.get(shape);
  if (order === undefined) {
    order = tags
      .map((tag) => ({
        tag,
        key: format === 'Simplify' ? tagName(tag) : tag,
        ofPatient: mainDicomTags.includes(tag),
      }))
      .sort((a, b) => byKey([a.key, a], [b.key, b]));
    ORDERS.set(shape, order);
  }
  latest = { tags, format, order };
  return order;
}

/** The main tags of a resource (or of the patient, as its study has them), with the sequences among them, sorted by key. */
function mainTags(
  { level, tags, metadata }: Pick<Found, 'level' | 'tags' | 'metadata'>,
  format: TagsFormat,
  order: Order,
  patient = level === 'Patient',
): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const { tag, key, ofPatient } of order) {
    // A study has the main tags of its patient, too.
    if (ofPatient !== patient) continue;
    const value = tags[tag];
    shown[key] = format === 'Full' ? { Name: tagName(tag), Type: 'String', Value: value } : value;
  }
  if (patient || metadata['MainDicomSequences'] === undefined) return shown;
  return Object.fromEntries(
    [...Object.entries(shown), ...Object.entries(reshape(mainSequences(metadata), format))].sort(byKey),
  );
}

/** Parts of a shown resource that a request may ask for (`ResponseContent`). */
export const CONTENT = [
  'MainDicomTags',
  'Metadata',
  'Children',
  'Parent',
  'Labels',
  'Status',
  'IsStable',
  'IsProtected',
  'Attachments',
] as const;

/** `Details` are the fields of a resource that come with no other part. */
export type Part = (typeof CONTENT)[number] | 'Details';

/** The parts of an expanded resource. */
export const EXPANDED: ReadonlySet<Part> = new Set<Part>([
  'MainDicomTags',
  'Children',
  'Parent',
  'Labels',
  'Status',
  'IsStable',
  'IsProtected',
  'Details',
]);

/** What a request asks for besides the main tags: `requested-tags`, sorted out for one level. */
export interface RequestedTags {
  /** `gggg,eeee`. */
  readonly tags: readonly string[];
  readonly computed: boolean;
  /** Some value may only be in a file. */
  readonly file: boolean;
}

/** Reads `requested-tags` (`PatientName;0008-0060`), in which empty elements ask nothing. Throws UnknownDicomTag. */
export function requestedTags(text: string | undefined, level: Level): RequestedTags | undefined {
  const names = (text ?? '').split(';').map((name) => name.trim());
  const tags = names
    .filter((name) => name !== '')
    .map((name) => {
      const tag = parseTag(name);
      if (tag === undefined) throw new IsenError('UnknownDicomTag', name);
      return tag;
    });
  if (tags.length === 0) return undefined;
  // Of the resources above, values only are at hand.
  const indexed = LEVELS.slice(0, LEVELS.indexOf(level) + 1).flatMap((each) =>
    LEVEL[each].mainDicomTags.filter((tag) => each === level || lookup(tagNumber(tag))?.vr !== 'SQ'),
  );
  return {
    tags,
    computed: tags.some((tag) => tag in COMPUTED[level]),
    file: tags.some((tag) => !indexed.includes(tag) && !COMPUTED_TAGS.has(tag)),
  };
}

/** What {@link expand} needs of the index at `level`. */
export function expansionRequest(
  level: Level,
  requested: RequestedTags | undefined,
  parts = EXPANDED,
): Partial<FindRequest> {
  const request: { -readonly [Key in keyof FindRequest]?: FindRequest[Key] } = {};
  // Of an instance its file says the size.
  if (level !== 'Instance' && !parts.has('Attachments')) request.attachments = false;
  if (level !== 'Instance' && parts.has('Children')) request.children = true;
  if (requested !== undefined) request.ancestors = true;
  if (requested?.computed) request.computed = true;
  if (requested?.file) request.instance = true;
  return request;
}

async function requestedValues(
  services: Services,
  found: Found,
  requested: RequestedTags,
  format: TagsFormat,
): Promise<Record<string, unknown>> {
  const indexed: Tags = { ...found.tags };
  // From the nearest up: a study knows its patient better than the patient does.
  for (const level of LEVELS.toReversed()) {
    for (const [tag, value] of Object.entries(found.ancestors?.[level]?.tags ?? {})) indexed[tag] ??= value;
  }
  const { computed, instance } = found;
  const sequences = mainSequences(found.metadata);
  const values: Record<string, FullElement> = {};
  let file: FullDataset | undefined;
  for (const tag of requested.tags) {
    const compute = COMPUTED[found.level][tag];
    let value: string | undefined = indexed[tag];
    if (compute !== undefined && computed !== undefined) value = compute(computed);
    else if (compute !== undefined && found.level === 'Instance') value = 'ONLINE';
    if (value !== undefined) {
      values[tag] = { Name: tagName(tag), Type: 'String', Value: value };
    } else if (sequences[tag] !== undefined) {
      values[tag] = sequences[tag];
    } else if (requested.file && instance !== undefined && !COMPUTED_TAGS.has(tag)) {
      file ??= JSON.parse(
        await services.headers.tags(instance, { format: 'Full', ignoreLength: requested.tags, only: requested.tags }),
      ) as FullDataset;
      const element = file[tag];
      if (element !== undefined) values[tag] = element;
    }
  }
  return Object.fromEntries(Object.entries(reshape(values, format)).sort(byKey));
}

/** Indexes of the instances of a series against the expected number: Orthanc's `Status`. */
async function seriesStatus(services: Services, found: Found): Promise<string> {
  const expected = integer(found.metadata['ExpectedNumberOfInstances']?.value);
  if (expected === null) return 'Unknown';
  const instances = await services.database.find({ level: 'Instance', of: found });
  const seen = new Set<number>();
  for (const { metadata } of instances) {
    const index = Number(metadata['IndexInSeries']?.value ?? Number.NaN);
    if (!(index > 0 && index <= expected) || seen.has(index)) return 'Inconsistent';
    seen.add(index);
  }
  return seen.size === expected ? 'Complete' : 'Missing';
}

/** A whole number of the metadata, or null. */
function integer(value: string | undefined): number | null {
  return value !== undefined && /^\d{1,9}$/.test(value) ? Number(value) : null;
}

const isDicom = ({ contentType }: RevisedAttachment): boolean => contentType === DICOM_ATTACHMENT;

/** What the id of a parent is called. */
const PARENT_FIELD = {
  Patient: 'ParentPatient',
  Study: 'ParentStudy',
  Series: 'ParentSeries',
  Instance: 'ParentInstance',
} as const satisfies Record<Level, string>;

/** An attachment as a list of them shows it. */
function attachment({ compression, ...shown }: RevisedAttachment): Record<string, unknown> {
  return {
    CompressedMD5: shown.compressedMD5,
    CompressedSize: shown.compressedSize,
    CompressionType: compression === 'none' ? 'None' : 'ZlibWithSize',
    ContentType: shown.contentType,
    UncompressedMD5: shown.uncompressedMD5,
    UncompressedSize: shown.uncompressedSize,
    Uuid: shown.uuid,
  };
}

/**
 * The JSON of one resource, or of some parts of it. Its fields are written in the order of their names, as hundreds are shown at once: to
 * sort those of each took longer than all else. What is undefined is left out of the text.
 */
export function expand(
  services: Services,
  found: Found,
  format: TagsFormat,
  requested?: RequestedTags,
  parts = EXPANDED,
): Record<string, unknown> | Promise<Record<string, unknown>> {
  const isSeries = found.level === 'Series' && parts.has('Status');
  if (requested === undefined && !isSeries) return fieldsOf(services, found, format, parts);
  return Promise.all([
    requested && requestedValues(services, found, requested, format),
    isSeries ? seriesStatus(services, found) : undefined,
  ]).then(([values, status]) => fieldsOf(services, found, format, parts, values, status));
}

function fieldsOf(
  { config }: Services,
  found: Found,
  format: TagsFormat,
  parts: ReadonlySet<Part>,
  requested?: Record<string, unknown>,
  status?: string,
): Record<string, unknown> {
  const { level, metadata } = found;
  const { parent, children } = LEVEL[level];
  const isDetailed = parts.has('Details');
  const order = parts.has('MainDicomTags') ? orderOf(Object.keys(found.tags), format) : [];
  const below = parts.has('Children') ? children : undefined;
  const file = level === 'Instance' ? found.attachments.find(isDicom) : undefined;
  const value = (name: string): string | undefined => metadata[name]?.value;
  const fields: Record<string, unknown> = {};
  if (isDetailed) fields['AnonymizedFrom'] = value('AnonymizedFrom');
  if (parts.has('Attachments')) fields['Attachments'] = found.attachments.map(attachment);
  if (isDetailed && level === 'Series')
    fields['ExpectedNumberOfInstances'] = integer(value('ExpectedNumberOfInstances'));
  if (isDetailed && level === 'Instance') {
    fields['FileSize'] = file?.uncompressedSize ?? 0;
    fields['FileUuid'] = file?.uuid ?? '';
  }
  fields['ID'] = found.id;
  if (isDetailed && level === 'Instance') fields['IndexInSeries'] = integer(value('IndexInSeries'));
  if (below === 'Instances') fields[below] = found.children ?? [];
  if (parts.has('IsProtected') && level === 'Patient') fields['IsProtected'] = found.isProtected;
  if (parts.has('IsStable') && level !== 'Instance') fields['IsStable'] = found.isStable;
  if (parts.has('Labels')) fields['Labels'] = found.labels;
  if (isDetailed && level !== 'Instance') fields['LastUpdate'] = value('LastUpdate') ?? '';
  if (parts.has('MainDicomTags')) fields['MainDicomTags'] = mainTags(found, format, order);
  if (parts.has('Metadata')) fields['Metadata'] = metadataValues(config, metadata);
  if (isDetailed) fields['ModifiedFrom'] = value('ModifiedFrom');
  if (parts.has('Parent') && parent !== undefined) fields[PARENT_FIELD[parent]] = found.parent;
  if (parts.has('MainDicomTags') && level === 'Study')
    fields['PatientMainDicomTags'] = mainTags(found, format, order, true);
  fields['RequestedTags'] = requested;
  if (below === 'Series') fields[below] = found.children ?? [];
  fields['Status'] = status;
  if (below === 'Studies') fields[below] = found.children ?? [];
  fields['Type'] = level;
  return fields;
}
