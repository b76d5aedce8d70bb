/**
 * Replays what the reference server was asked, in its order, on a fresh server with its configuration, and compares every
 * answer: status, headers that matter, body. What differs on purpose is in one table, with its reason.
 */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import sharp from 'sharp';
import { type Served, serve } from './http/served.ts';
import { shared, withoutShared } from './peer.ts';

interface Line {
  readonly request: {
    readonly method: string;
    readonly path: string;
    readonly headers?: Record<string, string>;
    readonly body?: string | object;
  };
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly text?: string;
  readonly bytes?: number;
  readonly md5?: string;
  /** Of an image: Pillow's mode, and the MD5 of its decoded pixels (`I`: 32-bit integers of 16-bit samples). */
  readonly pixels?: {
    readonly mode: 'L' | 'RGB' | 'RGBA' | 'I' | 'I;16';
    readonly width: number;
    readonly height: number;
    readonly md5: string;
  };
}

/** Lines that differ, and why. A row that no differing line needs fails the test. */
const DIFFERENCES: readonly {
  readonly line: RegExp;
  /** What differs; anything, where it is left out. */
  readonly found?: RegExp;
  readonly reason: string;
}[] = [
  {
    line: /^images: GET/,
    found: /^status: ours 200 .*theirs (415|500)$|theirs 150x83 of 4: /s,
    reason: 'ours is better: the reference build has no JPEG 2000 (GDCM decodes the same values: imaging/judges)',
  },
  {
    line: /^images: GET \/instances\/2107b40c-[^/]+\/(rendered|numpy)/,
    reason:
      'ours is better: the reference leaves a window and a rescaling aside that were written as UN (PS3.5 §6.2.2)',
  },
  {
    line: /^instances: GET \/instances\/905d7e3a-[^/]+\/(tags|simplified-tags|patient|study)/,
    reason: 'ours is better: the reference does not decode ISO 2022 IR 87 after ISO_IR 13 (PS3.3 §C.12.1.1.2)',
  },
  {
    line: /^instances: GET \/instances\/8fd03ef2-[^/]+\/(tags|simplified-tags)/,
    reason:
      'ours is better: in implicit VR the reference shows no palette descriptor, of which Pixel Representation says the VR',
  },
  {
    line: /^instances: GET \/instances\/f5a85d80-[^/]+\/(tags|content|header)/,
    reason: 'the reference is wrong: (0008,0000) is no File Meta Information (PS3.10 §7.1), though it follows it',
  },
  // On an engine that the reference has a plugin for, ours says so, too.
  ...(process.env['ISEN_TEST_POSTGRESQL'] === undefined
    ? []
    : [
        { line: /^resources: GET \/plugins$/, found: /"postgresql-index"/, reason: 'recorded from a server on SQLite' },
      ]),
  {
    line: /^resources: GET \/plugins\/explorer.js$/,
    reason: 'a comment of other words: nothing is added to the web interface by either',
  },
  {
    line: /^resources: GET \/(app\/explorer.html)?$/,
    found: /^status: ours 302 /,
    reason: 'the web interface is another one, and elsewhere',
  },
  {
    line: /^resources: GET \/tools\/dicom-conformance$/,
    reason: 'the statement is of another program',
  },
  {
    line: /^resources: GET \/tools\/accepted-transfer-syntaxes$/,
    reason: 'ours knows more of them (PS3.6 table A-1)',
  },
  {
    line: /^resources: GET \/tools\/metrics-prometheus$/,
    reason: 'caches and threads of another program; the counts have the same names (tested with the tools)',
  },
  {
    line: /^resources: GET \/system$/,
    reason: 'threads, libraries and plugins of another program; what clients compare is equal (tested below)',
  },
  {
    line: /^writes: POST \/instances\/[^/]+\/(modify|anonymize)$/,
    found: /^ours \d+ bytes, theirs/,
    reason: 'new UIDs; and ours keeps the bytes of what does not change, where the reference writes all anew',
  },
  {
    line: /^writes: \w+ \/tools\/execute-script/,
    reason: 'scripts of the reference run in its own interpreter',
  },
  {
    line: /^writes: GET \/jobs\?expand$/,
    found: /^\/\d\/Content\//,
    reason:
      'they come by random ids; and what a modality did not take is counted as failed, where the reference counts nothing',
  },
  {
    line: /^writes: GET \/changes/,
    reason: 'ours also logs what was deleted',
  },
  {
    line: /^writes: GET \/statistics$/,
    found: /^\/TotalDiskSize:/,
    reason: 'modified files have other sizes (see above); the counts are equal',
  },
];

const CONFIGURATION = {
  DicomAet: 'REFERENCE',
  AuthenticationEnabled: false,
  StableAge: 6,
  UserMetadata: { sample: 1024 },
  UserContentType: { report: [1025, 'application/pdf'] },
  // As it was when /peers was asked.
  OrthancPeers: { peer: ['http://127.0.0.1:28043/'] },
  DicomModalities: {
    sample: ['STORESCP', '127.0.0.1', 2000],
    offline: { AET: 'NOWHERE', Host: '127.0.0.1', Port: 2999 },
  },
};

function lines(file: string): Line[] {
  const path = shared(`reference/answers/${file}.jsonl`);
  assert.ok(path);
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line)
    .filter((line) => line.request !== undefined);
}

/** Bytes of a recorded request body: JSON, a sample file, or so many bytes of no meaning. */
function bodyOf(body: string | object): Buffer {
  if (typeof body !== 'string') return Buffer.from(JSON.stringify(body));
  if (body.startsWith('samples/')) return readFileSync(join(shared('samples') ?? '', body.slice('samples/'.length)));
  const size = /^<(\d+) bytes>$/.exec(body)?.[1];
  return size === undefined ? Buffer.from(body) : Buffer.alloc(Number(size), 'x');
}

const VARYING = new Set([
  'LastUpdate',
  'Date',
  'ReceptionDate',
  'FileUuid',
  'Uuid',
  'CompletionTime',
  'CreationTime',
  'EffectiveRuntime',
  'Timestamp',
]);
/** What names a job. */
const JOB = /^(\/jobs\/)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const UNORDERED = new Set(['Studies', 'Series', 'Instances']);
const keyOf = (value: unknown): string =>
  typeof value === 'object' && value !== null && 'ID' in value ? String(value.ID) : JSON.stringify(value);

/** A body without what varies from run to run (../shared/reference/README.md). */
function normalise(value: unknown, path: string, key = ''): unknown {
  if (VARYING.has(key) || (typeof value === 'string' && JOB.test(value))) return `<${key}>`;
  if (Array.isArray(value)) {
    const items = value.map((item) => normalise(item, path));
    const isList =
      key === '' && /^\/(patients|studies|series|instances)(\?|$|\/[^/]+\/(studies|series|instances))/.test(path);
    return UNORDERED.has(key) || isList ? items.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)) : items;
  }
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .map(([name, each]): [string, unknown] => [name, normalise(each, path, name)])
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  }
  return value;
}

/** The first difference of two values, as a path with both. */
function difference(ours: unknown, theirs: unknown, at = ''): string | undefined {
  if (isDeepStrictEqual(ours, theirs)) return undefined;
  if (typeof ours === 'object' && typeof theirs === 'object' && ours !== null && theirs !== null) {
    const a = ours as Record<string, unknown>;
    const b = theirs as Record<string, unknown>;
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      const found = difference(a[key], b[key], `${at}/${key}`);
      if (found !== undefined) return found;
    }
  }
  const show = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 200);
  return `${at}: ours ${show(ours)}, theirs ${show(theirs)}`;
}

/**
 * The end of the log: how many Stable changes came depends on how long the uploads took, and their order on nothing. Only
 * what is the last Seq of its own log becomes a word.
 */
function endOfLog(body: unknown, last: number): unknown {
  const text = JSON.stringify(body).replaceAll(new RegExp(`"(Seq|First|Last)":${last}\\b`, 'g'), '"$1":"<last>"');
  const page = JSON.parse(text) as { Changes?: { ChangeType: string; Seq: unknown }[] };
  const changes = page.Changes?.map((change) =>
    change.Seq === '<last>' && change.ChangeType.startsWith('Stable') ? '<the last stable resource>' : change,
  );
  return changes === undefined ? page : { ...page, Changes: changes };
}

/** What a modification made: public ids, which follow from new UIDs; the id of its job. */
function anyMade(body: unknown, path: string): unknown {
  const made = path.endsWith('/anonymize') ? ['ID', 'Path', 'PatientID'] : ['ID', 'Path'];
  return Object.fromEntries(
    Object.entries(body as Record<string, unknown>).map(([key, value]) => [key, made.includes(key) ? '<made>' : value]),
  );
}

/** Last Seq of the reference's log when the changes were recorded. */
const THEIR_LAST = 648;

async function compare(server: Served, line: Line): Promise<string | undefined> {
  const { method, path, headers, body } = line.request;
  const answer = await fetch(server.url + path, {
    method,
    ...(headers && { headers }),
    ...(body !== undefined && { body: new Uint8Array(bodyOf(body)) }),
    redirect: 'manual',
  });
  const bytes = Buffer.from(await answer.arrayBuffer());
  const text = bytes.toString();
  if (answer.status !== line.status)
    return `status: ours ${answer.status} (${text.slice(0, 300)}), theirs ${line.status}`;
  for (const [name, value] of Object.entries(line.headers)) {
    const ours = answer.headers.get(name);
    if (name === 'Content-Disposition' ? ours === null : ours !== value) {
      return `${name}: ours ${ours}, theirs ${value}`;
    }
  }
  if (typeof line.body === 'string' && /^<\d+ characters of JSON left out>$/.test(line.body)) {
    JSON.parse(text);
    return undefined;
  }
  if (line.body !== undefined) {
    let [ours, theirs] = [normalise(JSON.parse(text), path), normalise(line.body, path)];
    if (path.startsWith('/changes')) {
      const { Last } = (await (await fetch(`${server.url}/changes?last`)).json()) as { Last: number };
      [ours, theirs] = [endOfLog(ours, Last), endOfLog(theirs, THEIR_LAST)];
    }
    if (/\/(modify|anonymize)$/.test(path)) [ours, theirs] = [anyMade(ours, path), anyMade(theirs, path)];
    return difference(ours, theirs);
  }
  if (line.pixels !== undefined && !path.endsWith('/raw')) return pixelsDiffer(bytes, line.pixels);
  if (line.md5 !== undefined && (bytes.length !== line.bytes || md5(bytes) !== line.md5))
    return `ours ${bytes.length} bytes, theirs ${line.bytes}, or others`;
  if (line.text === undefined || line.md5 !== undefined) return undefined;
  // A line of its own source is what varies, too.
  const theirs = line.text.replace(/\t"Details" : "ErrorCode_\w+ triggered from [^"]+",\n/, '');
  return difference(shape(text), shape(theirs));
}

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

/** The picture that stands for one that cannot be shown: theirs is a drawing, of which ours has the size. */
const UNSUPPORTED = '03600e4b768ea0b54f11404c112fca04';

/** Why an image is not the recorded one. */
async function pixelsDiffer(image: Buffer, theirs: NonNullable<Line['pixels']>): Promise<string | undefined> {
  const { format, width, height, channels } = await sharp(image).metadata();
  if (theirs.md5 === UNSUPPORTED && width === theirs.width && height === theirs.height && channels === 4)
    return undefined;
  const wide = theirs.mode === 'I';
  const pixels = await sharp(image)
    .toColourspace(wide ? 'grey16' : theirs.mode === 'L' ? 'b-w' : 'srgb')
    .raw({ depth: wide ? 'ushort' : 'uchar' })
    .toBuffer();
  const samples = wide
    ? Buffer.from(Uint32Array.from(new Uint16Array(pixels.buffer, pixels.byteOffset, pixels.length / 2)).buffer)
    : pixels;
  const ours = `${width}x${height} of ${channels}: ${md5(samples)}`;
  const expected = `${theirs.width}x${theirs.height} of ${theirs.mode === 'RGB' ? 3 : theirs.mode === 'RGBA' ? 4 : 1}: ${theirs.md5}`;
  return ours === expected ? undefined : `pixels (${format}): ours ${ours}, theirs ${expected}`;
}

/** A time or a generated identifier as what it is. */
function shape(text: string): string {
  if (/^\d{8}T\d{6}$/.test(text)) return '<time>';
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) return '<UUID>';
  return /^[0-2](\.\d+){3,}$|^2\.25\.\d+$/.test(text) && text.length <= 64 ? '<UID>' : text;
}

let server: Served;
const used = new Set<RegExp>();

before(async () => {
  if (withoutShared === false) server = await serve(CONFIGURATION);
});
after(async () => {
  await server?.close();
});

for (const file of ['upload', 'instances', 'images', 'resources', 'changes', 'find', 'writes']) {
  test(`${file}: every recorded answer`, { skip: withoutShared, timeout: 120_000 }, async (context) => {
    const all = lines(file);
    const wrong: string[] = [];
    let equal = 0;
    for (const line of all) {
      const name = `${file}: ${line.request.method} ${line.request.path}`;
      const found = await compare(server, line);
      const row = DIFFERENCES.find(
        (each) => each.line.test(name) && (each.found === undefined || (found !== undefined && each.found.test(found))),
      );
      if (found === undefined) equal += 1;
      else if (row === undefined) wrong.push(`${name} ${JSON.stringify(line.request.body)}\n    ${found}`);
      else used.add(row.line);
    }
    context.diagnostic(`${file}: ${equal} of ${all.length} recorded answers are equal`);
    assert.deepEqual(wrong.length, 0, `${wrong.length} differ:\n${wrong.join('\n')}`);
    // Longer than the uploads take on a busy machine, so that no Stable event comes between them.
    if (file === 'upload') await sleep(8000);
  });
}

test('/system says what clients compare', { skip: withoutShared }, async () => {
  const theirs = lines('resources').find((line) => line.request.path === '/system')?.body as Record<string, unknown>;
  const ours = (await (await fetch(`${server.url}/system`)).json()) as Record<string, unknown>;
  for (const name of ['Version', 'ApiVersion', 'MainDicomTags', 'DatabaseVersion', 'HasLabels', 'CheckRevisions']) {
    assert.deepEqual(ours[name], theirs[name], name);
  }
});

test('every row of the table of differences is needed', { skip: withoutShared }, () => {
  assert.deepEqual(
    DIFFERENCES.filter(({ line }) => !used.has(line)),
    [],
  );
});
