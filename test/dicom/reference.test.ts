/**
 * Owns the replay of the reference's answers about single instances through the functions of src/dicom, without a server: one test
 * a kind of request, each differing answer named in {@link DIFFERENCES}.
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readContent } from '../../src/dicom/content.ts';
import { tagName } from '../../src/dicom/dictionary.ts';
import { metaToJson, toJson } from '../../src/dicom/json.ts';
import { LEVEL, type Level } from '../../src/dicom/levels.ts';
import { moduleJson } from '../../src/dicom/module.ts';
import { type DicomFile, readFile } from '../../src/dicom/read.ts';
import { type Summary, summarize } from '../../src/dicom/summary.ts';
import { IsenError } from '../../src/errors.ts';
import { shared, withoutShared } from '../peer.ts';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type JsonObject = { readonly [key: string]: Json };

interface Line {
  readonly file?: string;
  readonly ID?: string;
  readonly request?: { readonly path: string; readonly body?: string };
  readonly status?: number;
  readonly body?: Json;
  readonly text?: string;
}

/** Every answer that differs, with the reason; a difference that no row names fails, and so does a row that names none. */
const DIFFERENCES: readonly { readonly file: string; readonly kinds: readonly string[]; readonly reason: string }[] = [
  {
    file: 'Encodings/DavidClunie/SCSH32',
    kinds: ['/tags', '/tags?short', '/tags?simplify', '/simplified-tags', '/patient'],
    reason:
      'ISO 2022 IR 13 and 87 together: the reference shows the raw bytes of the kanji group; PS3.5 §H.3.2 has our text',
  },
  {
    file: 'Implicit-vr-us-palette.dcm',
    kinds: ['/tags', '/tags?short', '/tags?simplify', '/simplified-tags'],
    reason:
      'implicit VR palette descriptors (0028,1101-1103): null in the reference, which does not resolve "US or SS"',
  },
  {
    file: 'TransferSyntaxes/1.2.840.10008.1.2.4.50.dcm',
    kinds: ['/tags', '/tags?short', '/header?simplify', '/content'],
    reason: 'the group length of File Meta Information is 12 too long: the reference takes (0008,0000) into the header',
  },
];

const lines = (name: string): readonly Line[] =>
  readFileSync(shared(`reference/answers/${name}`) ?? '', 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);

const sample = (name: string): Buffer => readFileSync(shared(name) ?? name);
const asObject = (json: Json | undefined): JsonObject =>
  typeof json === 'object' && json !== null && !Array.isArray(json) ? (json as JsonObject) : {};

const textOf = (json: Json | undefined): string => (typeof json === 'string' ? json : '');

/** The file that the reference holds for each identifier: the first that was uploaded. */
function firstUploads(): ReadonlyMap<string, string> {
  const first = new Map<string, string>();
  for (const { request, body } of lines('upload.jsonl')) {
    const file = request?.body ?? '';
    if (!file.startsWith('samples/')) continue;
    for (const id of Object.values(asObject(body))) {
      if (typeof id === 'string' && !first.has(id)) first.set(id, file);
    }
  }
  return first;
}

/** The length of `json` as the reference's own text, by which the bodies that the recording left out are compared. */
function styledLength(json: Json, indent = 0): number {
  const pad = 3 * (indent + 1);
  if (typeof json !== 'object' || json === null) {
    return JSON.stringify(json).replace(/[^\0-\x7f]/g, '\\u0000').length;
  }
  const entries = Array.isArray(json)
    ? json.map((value: Json) => pad + styledLength(value, indent + 1))
    : Object.entries(json).map(
        ([key, value]) =>
          pad +
          JSON.stringify(key).length +
          ' : '.length +
          (typeof value === 'object' && value !== null && Object.keys(value).length > 0 ? 1 + pad : 0) +
          styledLength(value, indent + 1),
      );
  if (entries.length === 0) return 2;
  const inside = entries.reduce((sum, entry) => sum + entry, 0);
  return '{\n'.length + inside + ',\n'.length * (entries.length - 1) + '\n'.length + 3 * indent + '}'.length;
}

/** Simplified JSON of what `MainDicomSequences` holds in full. */
function simplified(item: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.values(item)
      .map(asObject)
      .map(({ Name, Value }) => [
        textOf(Name),
        Array.isArray(Value) ? Value.map((value: Json) => simplified(asObject(value))) : (Value ?? null),
      ]),
  );
}

/** A resource's main tags and expected count as its answer shows them. */
function resource(summary: Summary, level: Level): JsonObject {
  const tags: Record<string, Json> = {};
  for (const [tag, value] of Object.entries(summary.tags[level])) {
    // A study keeps its patient's tags besides its own, as it saw them.
    if (LEVEL[level].mainDicomTags.includes(tag)) tags[tagName(tag)] = value;
  }
  const sequences = summary.metadata[level]['MainDicomSequences'];
  if (sequences !== undefined)
    Object.assign(tags, simplified(asObject(asObject(JSON.parse(sequences) as Json)['Sequences'])));
  const expected = summary.metadata[level]['ExpectedNumberOfInstances'];
  return { tags, expected: expected === undefined ? null : Number(expected) };
}

const RECEPTION = ['HttpUsername', 'MainDicomTagsSignature', 'Origin', 'ReceptionDate', 'RemoteAET', 'RemoteIP'];

test('the answers about every instance', { skip: withoutShared }, async (context) => {
  const first = firstUploads();
  const found = new Map<string, Set<string>>();
  const counts = new Map<string, number>();
  let name = '';
  let file: DicomFile | undefined;
  let header: DicomFile | undefined;
  let summary: Summary | undefined;
  for (const line of lines('instances.jsonl')) {
    if (line.file !== undefined) {
      name = first.get(line.ID ?? '') ?? line.file;
      const bytes = sample(name);
      file = readFile(bytes);
      summary = summarize(bytes);
      const offset = summary.metadata.Instance['PixelDataOffset'];
      header = offset === undefined ? file : readFile(bytes.subarray(0, Number(offset)), { truncated: true });
      continue;
    }
    if (file === undefined || header === undefined || summary === undefined) continue;
    const kind = (line.request?.path ?? '').replace(/^\/instances\/[^/?]*/, '');
    const body = asObject(line.body);
    const owner = (): Summary => summarize(sample(first.get(textOf(body['ID'])) ?? ''));
    let mine: unknown;
    let theirs: Json | undefined = line.body;
    if (kind === '/tags') mine = toJson(header.dataSet, 'Full');
    else if (kind === '/tags?short') mine = toJson(header.dataSet, 'Short');
    else if (kind === '/tags?simplify' || kind === '/simplified-tags') mine = toJson(header.dataSet, 'Simplify');
    else if (kind === '/header?simplify') mine = metaToJson(file, 'Simplify');
    else if (kind === '/module?simplify') mine = moduleJson(header.dataSet, 'Instance', 'Simplify');
    else if (kind === '/content') {
      const content = readContent(file, '');
      mine = content?.kind === 'listing' ? content.names : undefined;
    } else if (kind === '/metadata?expand') {
      mine = summary.metadata.Instance;
      theirs = Object.fromEntries(Object.entries(body).filter(([key]) => !RECEPTION.includes(key)));
    } else if (kind === '') {
      mine = resource(summary, 'Instance');
      theirs = { tags: body['MainDicomTags'] ?? null, expected: null };
    } else if (kind === '/patient' || kind === '/study' || kind === '/series') {
      const level = ({ '/patient': 'Patient', '/study': 'Study', '/series': 'Series' } as const)[kind];
      mine = resource(owner(), level);
      theirs = { tags: body['MainDicomTags'] ?? null, expected: body['ExpectedNumberOfInstances'] ?? null };
    } else continue;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    const leftOut = /^<(\d+) characters of JSON left out>$/.exec(typeof theirs === 'string' ? theirs : '');
    try {
      if (leftOut === null) assert.deepEqual(mine, theirs);
      else assert.equal(styledLength(mine as Json), Number(leftOut[1]));
    } catch (thrown) {
      const short = name.replace('samples/', '');
      const row = DIFFERENCES.find((difference) => difference.file === short && difference.kinds.includes(kind));
      if (row === undefined) throw new Error(`${short} ${kind}: ${String(thrown)}`, { cause: thrown });
      found.set(short, (found.get(short) ?? new Set()).add(kind));
    }
  }
  for (const row of DIFFERENCES) {
    assert.deepEqual([...(found.get(row.file) ?? [])].toSorted(), [...row.kinds].toSorted(), `stale row: ${row.file}`);
  }
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const differing = DIFFERENCES.reduce((sum, row) => sum + row.kinds.length, 0);
  assert.equal(counts.size, 12);
  context.diagnostic(`${total - differing} of ${total} answers equal, ${differing} listed as different`);
});

test('the identifiers and refusals of every upload', { skip: withoutShared }, (context) => {
  let equal = 0;
  for (const { request, status, body, text } of lines('upload.jsonl')) {
    const name = request?.body ?? '';
    if (!name.startsWith('samples/') || name.endsWith('.gz')) continue;
    if (status === 200) {
      const answer = asObject(body);
      const { ids } = summarize(sample(name));
      assert.deepEqual(
        [ids.Instance, ids.Series, ids.Study, ids.Patient],
        [answer['ID'], answer['ParentSeries'], answer['ParentStudy'], answer['ParentPatient']],
        name,
      );
    } else {
      const { Details } = asObject(JSON.parse(text ?? '{}') as Json);
      assert.throws(
        () => summarize(sample(name)),
        (thrown) => thrown instanceof IsenError && thrown.code === 'BadFileFormat' && thrown.details === Details,
        name,
      );
    }
    equal += 1;
  }
  assert.ok(equal > 180);
  context.diagnostic(`${equal} uploads equal`);
});

test('the modules of patients, studies and series', { skip: withoutShared }, () => {
  const first = firstUploads();
  const LEVEL_OF: Readonly<Record<string, Level>> = { patients: 'Patient', studies: 'Study', series: 'Series' };
  let equal = 0;
  for (const { request, status, body } of lines('resources.jsonl')) {
    const path = /^\/(patients|studies|series)\/([^/]+)\/module(-patient)?\?simplify$/.exec(request?.path ?? '');
    if (path === null || status !== 200) continue;
    const level = path[3] === undefined ? LEVEL_OF[path[1] ?? ''] : 'Patient';
    const { dataSet } = readFile(sample(first.get(path[2] ?? '') ?? ''), { untilPixelData: true });
    assert.deepEqual(moduleJson(dataSet, level ?? 'Patient', 'Simplify'), body, request?.path);
    equal += 1;
  }
  assert.equal(equal, 12);
});
