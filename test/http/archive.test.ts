/** Archives over HTTP: what is in them, errors, jobs, clients that are slow or leave, and the reference server beside. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import yauzl from 'yauzl';
import { readFile } from '../../src/dicom/read.ts';
import { startReference } from '../debian-reference.ts';
import { make, type Made } from '../dicom/made.ts';
import { shared, temporaryFolder, without, withoutShared } from '../peer.ts';
import { alterBlob, blobsBelow, readBlob } from '../storage/blobs.ts';
import { raw, type Served, serve } from './served.ts';

let server: Served;
const folder = temporaryFolder();

before(async () => {
  server = await serve({ StableAge: 600 });
});
after(() => server.close());

interface Uploaded {
  readonly ID: string;
  readonly ParentPatient: string;
  readonly ParentStudy: string;
  readonly ParentSeries: string;
}

async function upload(bytes: Uint8Array, url = server.url): Promise<Uploaded> {
  const answer = await fetch(`${url}/instances`, { method: 'POST', body: new Uint8Array(bytes) });
  assert.equal(answer.status, 200);
  return (await answer.json()) as Uploaded;
}

/** An instance number `number` of a series. */
const made = (study: string, series: number, number: number, more: Made = {}): Buffer =>
  make({
    patientId: `P${study}`,
    studyUid: `2.25.${study}`,
    seriesUid: `2.25.${study}.${series}`,
    sopUid: `2.25.${study}.${series}.${number}`,
    ...more,
    extra: [
      { tag: '0020,0013', vr: 'IS', value: String(number) },
      { tag: '0008,1030', vr: 'LO', value: 'Thorax' },
      ...(more.extra ?? []),
    ],
  });

/** The entries of an archive by their names, as a strict reader sees them. */
async function unzipped(archive: Uint8Array): Promise<Map<string, Buffer>> {
  const zip = await yauzl.fromBufferPromise(Buffer.from(archive), { strictFileNames: true, validateEntrySizes: true });
  const entries = new Map<string, Buffer>();
  for await (const entry of zip.eachEntry()) {
    const chunks: Buffer[] = [];
    const stream = await zip.openReadStreamPromise(entry);
    for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
    entries.set(entry.fileName, Buffer.concat(chunks));
  }
  return entries;
}

async function archiveOf(path: string, init: RequestInit = {}, url = server.url): Promise<Map<string, Buffer>> {
  const answer = await fetch(url + path, { signal: AbortSignal.timeout(60_000), ...init });
  assert.equal(answer.status, 200, path);
  assert.equal(answer.headers.get('content-type'), 'application/zip');
  return unzipped(new Uint8Array(await answer.arrayBuffer()));
}

const posting = (body: unknown): RequestInit => ({ method: 'POST', body: JSON.stringify(body) });

interface Failure {
  readonly OrthancStatus: number;
  readonly Details?: string;
}

async function failing(path: string, init: RequestInit, status: number, orthanc: number): Promise<string | undefined> {
  const answer = await fetch(server.url + path, init);
  assert.equal(answer.status, status, path);
  const { OrthancStatus, Details } = (await answer.json()) as Failure;
  assert.equal(OrthancStatus, orthanc, path);
  return Details;
}

/** A study of two series, the first of three instances. */
async function study(number: string): Promise<Uploaded[]> {
  const files = [made(number, 1, 3), made(number, 1, 1), made(number, 1, 2), made(number, 2, 7)];
  return Promise.all(files.map((bytes) => upload(bytes)));
}

test('an archive has the stored bytes in folders; numbers are those of the instances', async () => {
  const [first] = await study('81');
  assert.ok(first);
  const base = 'P81 Made Instance/A12345 Thorax';
  const expected = new Map([
    [`${base}/CT/CT000001.dcm`, made('81', 1, 1)],
    [`${base}/CT/CT000002.dcm`, made('81', 1, 2)],
    [`${base}/CT/CT000003.dcm`, made('81', 1, 3)],
    [`${base}/CT-2/CT000007.dcm`, made('81', 2, 7)],
  ]);
  const swapped = new Map([...expected].map(([name, bytes]) => [name.replace('/CT/', '/CT-2/'), bytes]));
  for (const path of [`/patients/${first.ParentPatient}`, `/studies/${first.ParentStudy}`]) {
    const entries = await archiveOf(`${path}/archive`);
    assert.equal(entries.size, 4);
    // Which series is the first depends on their ids.
    const of = entries.has(`${base}/CT/CT000001.dcm`) ? expected : swapped;
    for (const [name, bytes] of entries) {
      const wanted = of.get(name) ?? (name.endsWith('CT/CT000007.dcm') ? made('81', 2, 7) : undefined);
      assert.deepEqual(bytes, wanted, name);
    }
  }
  const series = await archiveOf(`/series/${first.ParentSeries}/archive`, posting({}));
  assert.deepEqual([...series.keys()], [...expected.keys()].slice(0, 3));
});

test('an archive of resources of any level has each file once', async () => {
  const [one, two, three] = await study('82');
  const [other] = await study('83');
  assert.ok(one && two && three && other);
  const Resources = [one.ID, three.ID, one.ID];
  const some = await archiveOf('/tools/create-archive', posting({ Resources }));
  assert.deepEqual(
    [...some.keys()].map((name) => name.split('/').at(-1)),
    ['CT000002.dcm', 'CT000003.dcm'],
  );
  const all = [two.ID, one.ParentStudy, one.ParentSeries, other.ParentPatient, other.ID];
  assert.equal((await archiveOf('/tools/create-archive', posting(all))).size, 8);
  assert.equal((await archiveOf(`/tools/create-archive?resources=${all.join(',')}`)).size, 8);
  assert.equal((await archiveOf('/tools/create-archive', posting([]))).size, 0);
  const media = await archiveOf('/tools/create-media', posting(all));
  assert.equal(media.size, 9);
  assert.ok(media.has('DICOMDIR') && media.has('IMAGES/IM0') && media.has('IMAGES/IM7'));
});

test('a file-set refers to each of its files', async () => {
  const [first] = await study('84');
  assert.ok(first);
  const [extended, plain] = await Promise.all([
    archiveOf(`/tools/create-media-extended?resources=${first.ParentStudy}`),
    archiveOf(`/studies/${first.ParentStudy}/media`),
  ]);
  for (const entries of [extended, plain]) {
    const directory = entries.get('DICOMDIR');
    assert.ok(directory);
    const { dataSet } = readFile(directory);
    let files = 0;
    for (const item of dataSet.elements.get('0004,1220')?.items ?? []) {
      const text = (tag: string): string => {
        const element = item.elements.get(tag);
        if (element === undefined) return '';
        const { offset, length } = element;
        return item.bytes
          .toString('latin1', offset, offset + length)
          .replaceAll('\0', '')
          .trim();
      };
      if (text('0004,1430') !== 'IMAGE') continue;
      files += 1;
      const file = entries.get(text('0004,1500').replace('\\', '/'));
      assert.ok(file);
      const stored = readFile(file).dataSet;
      const sop = stored.elements.get('0008,0018');
      assert.ok(sop);
      assert.match(stored.bytes.toString('latin1', sop.offset, sop.offset + sop.length), new RegExp(text('0004,1511')));
    }
    assert.equal(files, 4);
  }
});

test('the name of the file is what the client asks for, and no header of its own', async () => {
  const [first] = await study('85');
  assert.ok(first);
  const path = `/series/${first.ParentSeries}/archive`;
  const named = async (at: string, init: RequestInit = {}): Promise<string | null> => {
    const answer = await fetch(server.url + at, init);
    await answer.arrayBuffer();
    return answer.headers.get('content-disposition');
  };
  assert.equal(await named(path), `filename="${first.ParentSeries}.zip"`);
  assert.equal(await named(`${path}?filename=a.zip`), 'filename="a.zip"');
  assert.equal(await named(path, posting({ Filename: 'b.zip' })), 'filename="b.zip"');
  assert.equal(await named('/tools/create-media', posting([first.ID])), 'filename="Archive.zip"');
  const evil = 'x"\r\nSet-Cookie: a=b\r\n\r\né.zip';
  const encoded = `filename*=UTF-8''x%22__Set-Cookie%3A%20a%3Db____%C3%A9.zip`;
  for (const header of [
    await named(`${path}?filename=${encodeURIComponent(evil)}`),
    await named(path, posting({ Filename: evil })),
  ])
    assert.equal(header, `filename="x___Set-Cookie: a=b_____.zip"; ${encoded}`);
  const head = await raw(server.port, path, { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal(head.body.length, 0);
});

test('requests that make no sense are refused before anything is read', async () => {
  const [first] = await study('86');
  assert.ok(first);
  const path = `/studies/${first.ParentStudy}/archive`;
  const syntax = 'Unknown transfer syntax: nope';
  assert.equal(await failing(`${path}?transcode=nope`, {}, 400, 3), syntax);
  assert.equal(await failing(path, posting({ Transcode: 'nope' }), 400, 3), syntax);
  await failing(`${path}?lossy-quality=101`, {}, 400, 5);
  await failing(path, posting({ LossyQuality: 0 }), 400, 3);
  await failing(path, posting({ Synchronous: 'x' }), 400, 15);
  await failing(path, posting({ Priority: 'x' }), 400, 15);
  assert.equal(await failing(path, posting({ Utf8: 1 }), 400, 15), 'Boolean value expected in field: Utf8');
  await failing(path, { method: 'POST', body: '{' }, 400, 15);
  await failing(path, { method: 'POST', body: '' }, 400, 15);
  await failing(path, { method: 'POST', body: `"${'x'.repeat(5 << 20)}"` }, 413, 8);
  await failing('/studies/nope/archive', {}, 404, 17);
  // A series is no study.
  await failing(`/studies/${first.ParentSeries}/archive`, {}, 404, 17);
  await failing(`/instances/${first.ID}/archive`, {}, 404, 17);
  const tool = '/tools/create-archive';
  assert.equal(await failing(tool, posting({}), 400, 15), 'Missing field Resources in the JSON body');
  const list = 'Expected a list of strings (Orthanc identifiers)';
  assert.equal(await failing(tool, posting({ Resources: 'x' }), 400, 15), list);
  assert.equal(await failing(tool, posting([1]), 400, 15), list);
  await failing(tool, posting(['nope']), 404, 17);
  await failing(tool, posting({ Resources: [first.ID, '00000000-00000000-00000000-00000000-00000000'] }), 404, 17);
  await failing(`${tool}?resources=${first.ID},nope`, {}, 404, 17);
});

test('files go out in the transfer syntax that is asked for, where they can be had in it', async () => {
  const pictures = await upload(made('87', 1, 1, { rows: 64, columns: 64 }));
  await upload(made('87', 1, 2, { pixels: false }));
  const path = `/studies/${pictures.ParentStudy}`;
  const syntaxes = (entries: Map<string, Buffer>): string[] =>
    [...entries].filter(([name]) => name !== 'DICOMDIR').map(([, bytes]) => readFile(bytes).transferSyntax);
  const [lossless, explicit] = ['1.2.840.10008.1.2.4.70', '1.2.840.10008.1.2.1'];
  const answers = [
    await archiveOf(`${path}/archive?transcode=${lossless}`),
    await archiveOf(`${path}/media`, posting({ Transcode: lossless })),
  ];
  for (const entries of answers) assert.ok(syntaxes(entries).includes(lossless), syntaxes(entries).join());
  const directory = answers[1]?.get('DICOMDIR');
  assert.ok(directory?.includes(lossless));
  const lossy = await archiveOf(`${path}/archive`, posting({ Transcode: '1.2.840.10008.1.2.4.80' }));
  assert.equal(lossy.size, 2);
  assert.deepEqual(syntaxes(await archiveOf(`${path}/archive?transcode=${explicit}`)), [explicit, explicit]);
});

/** A file that is larger than what is read whole, of pixels that deflate a little. */
function large(study: string, number: number): Buffer {
  const pixels = Buffer.alloc(9 << 20);
  for (let at = 0, seed = number; at < pixels.length; at += 1) {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    pixels[at] = at % 4 === 0 ? 7 : seed >> 16;
  }
  return made(study, 1, number, { rows: 3072, columns: 1536, pixels });
}

test('a large file goes in pieces, and is in the directory', async () => {
  const bytes = large('88', 1);
  const { ParentSeries } = await upload(bytes);
  for (const what of ['archive', 'media']) {
    const path = join(folder, `${what}.zip`);
    const answer = await fetch(`${server.url}/series/${ParentSeries}/${what}`);
    const archive = new Uint8Array(await answer.arrayBuffer());
    assert.ok(archive.length < bytes.length);
    const entries = await unzipped(archive);
    const [[, first] = []] = entries;
    assert.deepEqual(first, bytes);
    assert.equal(entries.has('DICOMDIR'), what === 'media');
    writeFileSync(path, archive);
    if (!without('unzip')) assert.equal(spawnSync('unzip', ['-tqq', path]).status, 0);
  }
});

/** The blobs of a server's storage. */
const blobs = (storage: string): string[] =>
  readdirSync(storage, { recursive: true })
    .map(String)
    .filter((name) => /^..\/..\/[0-9a-f-]{36}$/.test(name));

test('what was altered or lost on the disk is never passed off as what was stored', async () => {
  const damaged = await serve({ StableAge: 600 });
  try {
    for (const bytes of [made('89', 1, 1), large('89', 2), made('89', 1, 3)]) await upload(bytes, damaged.url);
    const [study = ''] = (await (await fetch(`${damaged.url}/studies`)).json()) as string[];
    const path = `/studies/${study}/archive`;
    assert.equal((await archiveOf(path, {}, damaged.url)).size, 3);
    const bySize = (least: number, most: number): string => {
      const found = blobs(damaged.storage).find((name) => {
        const { length } = readFileSync(join(damaged.storage, name));
        return length >= least && length < most;
      });
      assert.ok(found);
      return join(damaged.storage, found);
    };
    const file = bySize(8 << 20, 1 << 30);
    const bytes = readFileSync(file);
    bytes[6 << 20] = (bytes[6 << 20] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    // Its status has left before the end of a large file is known to be wrong: the connection breaks.
    await assert.rejects(raw(damaged.port, path));
    const series = (await (await fetch(`${damaged.url}/series`)).json()) as string[];
    const body = JSON.stringify({ Asynchronous: true });
    const begun = await fetch(`${damaged.url}/series/${series[0]}/archive`, { method: 'POST', body });
    const { ID } = (await begun.json()) as { ID: string };
    assert.equal((await ended(ID, damaged.url))['ErrorCode'], 20);
    for (const uuid of blobsBelow(damaged.storage))
      if (readBlob(damaged.storage, uuid).length < 1 << 20) alterBlob(damaged.storage, uuid, 500);
    // Where it is the first of all, nothing has left yet.
    assert.equal(
      await raw(damaged.port, path).then(
        ({ status }) => status,
        () => 500,
      ),
      500,
    );
  } finally {
    await damaged.close();
  }
});

test('an instance that is deleted meanwhile is left out', async () => {
  const uploaded = [];
  for (let number = 1; number <= 40; number += 1)
    uploaded.push(await upload(made('90', 1, number, { rows: 512, columns: 512 })));
  const [first] = uploaded;
  const last = uploaded.at(-1);
  assert.ok(first && last);
  const request = httpRequest({ port: server.port, path: `/studies/${first.ParentStudy}/archive`, agent: false });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  // Nobody reads yet.
  assert.equal((await fetch(`${server.url}/instances/${last.ID}`, { method: 'DELETE' })).status, 200);
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  const { size } = await unzipped(Buffer.concat(chunks));
  assert.ok(size === 39 || size === 40, String(size));
});

interface Job {
  readonly Content: Readonly<Record<string, unknown>>;
  readonly ErrorCode: number;
  readonly State: string;
  readonly Type: string;
  readonly UserData?: unknown;
  readonly Priority: number;
}

async function ended(id: string, url = server.url): Promise<Job> {
  for (const until = Date.now() + 20_000; Date.now() < until; await sleep(20)) {
    const job = (await (await fetch(`${url}/jobs/${id}`)).json()) as Job;
    if (job.State === 'Success' || job.State === 'Failure') return job;
  }
  throw new Error('the job does not end');
}

test('a job keeps the archive for download, and no more of them than wanted', async () => {
  const [first] = await study('91');
  assert.ok(first);
  const before = blobs(server.storage).length;
  const begin = async (what: string, body: object): Promise<string> => {
    const answer = await fetch(`${server.url}/studies/${first.ParentStudy}/${what}`, posting(body));
    const { ID, Path } = (await answer.json()) as { ID: string; Path: string };
    assert.equal(Path, `/jobs/${ID}`);
    return ID;
  };
  const one = await begin('archive', { Asynchronous: true, Priority: 3, UserData: { a: 1 }, Filename: 'f.zip' });
  const job = await ended(one);
  assert.equal(job.Type, 'Archive');
  assert.equal(job.Priority, 3);
  assert.deepEqual(job.UserData, { a: 1 });
  const download = await fetch(`${server.url}/jobs/${one}/archive`);
  assert.equal(download.headers.get('content-disposition'), 'filename="f.zip"');
  assert.equal(download.headers.get('content-type'), 'application/zip');
  const archive = new Uint8Array(await download.arrayBuffer());
  const entries = await unzipped(archive);
  const size = [...entries.values()].reduce((sum, { length }) => sum + length, 0);
  assert.deepEqual(job.Content, {
    ArchiveSize: String(archive.length),
    ArchiveSizeMB: 0,
    Description: 'REST API',
    InstancesCount: 4,
    UncompressedSize: String(size),
    UncompressedSizeMB: 0,
    Utf8: false,
  });
  const two = await begin('media', { Synchronous: false, Extended: true, Utf8: true });
  assert.equal((await ended(two)).Type, 'Media');
  assert.ok((await unzipped(await bytesOf(`/jobs/${two}/archive`))).has('DICOMDIR'));
  // MediaArchiveSize is 1.
  for (let wait = 0; wait < 100 && blobs(server.storage).length > before + 1; wait += 1) await sleep(20);
  assert.equal((await fetch(`${server.url}/jobs/${one}/archive`)).status, 404);
  assert.equal((await fetch(`${server.url}/jobs/${two}/archive`, { method: 'DELETE' })).status, 200);
  assert.equal(blobs(server.storage).length, before);
});

const bytesOf = async (path: string): Promise<Uint8Array> =>
  new Uint8Array(await (await fetch(server.url + path)).arrayBuffer());

test('without streaming the size is known, and nothing stays', async () => {
  const spooling = await serve({ StableAge: 600, SynchronousZipStream: false, ZipUseUtf8: true });
  try {
    const { ParentStudy } = await upload(
      made('92', 1, 1, { charset: 'ISO_IR 192', patientName: Buffer.from('Jérôme') }),
      spooling.url,
    );
    const before = blobs(spooling.storage).length;
    for (const options of [{ method: 'GET' }, { method: 'POST' }]) {
      const path = `/studies/${ParentStudy}/archive`;
      const answer = await raw(spooling.port, path, options, options.method === 'POST' ? '{}' : undefined);
      assert.equal(answer.headers['content-length'], String(answer.body.length));
      assert.deepEqual([...(await unzipped(answer.body)).keys()], ['P92 Jérôme/A12345 Thorax/CT/CT000001.dcm']);
    }
    for (let wait = 0; wait < 100 && blobs(spooling.storage).length > before; wait += 1) await sleep(20);
    assert.equal(blobs(spooling.storage).length, before);
  } finally {
    await spooling.close();
  }
});

/** Bytes that the process has read by system calls. */
const bytesRead = (): number => Number(/rchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1] ?? 0);

test('a client that is slow is waited for, and one that leaves ends the reading', async () => {
  const count = 60;
  let ParentStudy = '';
  for (let number = 1; number <= count; number += 1) {
    const pixels = randomBytes(1 << 20);
    ({ ParentStudy } = await upload(made('93', 1, number, { rows: 1024, columns: 512, pixels })));
  }
  const open = async (): Promise<{ request: ReturnType<typeof httpRequest>; response: IncomingMessage }> => {
    const request = httpRequest({ port: server.port, path: `/studies/${ParentStudy}/archive`, agent: false });
    request.on('error', () => {});
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.on('error', () => {});
    return { request, response };
  };
  const before = bytesRead();
  const { rss } = process.memoryUsage();
  // Nobody reads: of 60 MB only what is read ahead and what sockets hold is read.
  const slow = await Promise.all(Array.from({ length: 4 }, open));
  await sleep(1500);
  const ahead = bytesRead() - before;
  assert.ok(ahead < slow.length * 30e6, `${ahead} bytes were read ahead`);
  assert.ok(process.memoryUsage().rss - rss < slow.length * 40e6, 'memory');
  const still = bytesRead();
  await sleep(500);
  assert.ok(bytesRead() - still < 1e6, 'it reads on');
  for (const { request } of slow) request.destroy();
  await sleep(300);
  const left = bytesRead();
  await sleep(500);
  assert.ok(bytesRead() - left < 1e6, 'it reads for nobody');
  // More than are allowed at the same time, had the others not ended.
  for (let round = 0; round < 70; round += 1) {
    const { request, response } = await open();
    assert.equal(response.statusCode, 200);
    request.destroy();
  }
  const { response } = await open();
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  assert.equal((await unzipped(Buffer.concat(chunks))).size, count);
});

test('a job that is cancelled leaves nothing', async () => {
  const patients = (await (await fetch(`${server.url}/patients`)).json()) as string[];
  const before = blobs(server.storage).length;
  for (let round = 0; round < 3; round += 1) {
    const begun = await fetch(`${server.url}/tools/create-media`, posting({ Resources: patients, Asynchronous: true }));
    const { ID, Path } = (await begun.json()) as { ID: string; Path: string };
    for (let wait = 0; wait < 500 && blobs(server.storage).length === before; wait += 1) await sleep(2);
    assert.equal((await fetch(`${server.url}${Path}/cancel`, { method: 'POST' })).status, 200);
    const { State, ErrorCode } = await ended(ID);
    assert.deepEqual([State, ErrorCode], ['Failure', 37]);
    for (let wait = 0; wait < 300 && blobs(server.storage).length > before; wait += 1) await sleep(20);
    assert.equal(blobs(server.storage).length, before);
    assert.equal((await fetch(`${server.url}${Path}/archive`)).status, 404);
  }
});

/** The names of files, but for the numbers: those of the reference have been those of the instances only since 1.12. */
const masked = (names: Iterable<string>): string[] =>
  [...names].map((name) => name.replace(/\d{5,8}\.dcm$/, '.dcm')).sort();

/** The records of a DICOMDIR as dcmdump shows them, offsets and what is empty apart. */
function records(directory: Buffer): string[] {
  const path = join(folder, 'DICOMDIR');
  writeFileSync(path, directory);
  const dump = spawnSync('dcmdump', ['+L', path], { encoding: 'latin1', maxBuffer: 64 << 20 });
  assert.equal(dump.status, 0, dump.stderr);
  const found: string[] = [];
  for (const line of dump.stdout.split('\n')) {
    if (line.includes('"Directory Record"')) found.push('');
    const element = /^ {4}(\(.{9}\) .. .*?) *#/.exec(line)?.[1] ?? '';
    const isOffset = /^\(0004,(1400|1420|1500)\)/.test(element);
    if (found.length > 0 && element !== '' && !isOffset && !element.includes('(no value'))
      found.push(`${found.pop() ?? ''}${element.replace(/[\0 ]+\]$/, ']')}\n`);
  }
  return found.sort();
}

/** Samples of images: of other instances the reference knows no records but those of images. */
const PLAIN = ['Knee', 'Phenix', 'Beaufix', 'Comunix', 'PatientWith2studies', 'Encodings'];

test('the reference names its files so, and says the same in its DICOMDIR', {
  skip: withoutShared || without('/usr/sbin/Orthanc') || without('dcmdump'),
}, async () => {
  const samples = shared('samples') ?? '';
  const files = PLAIN.flatMap((name) =>
    readdirSync(join(samples, name), { recursive: true })
      .map((file) => join(samples, name, String(file)))
      .filter((path) => statSync(path).isFile())
      .map((path) => readFileSync(path)),
  );
  const reference = await startReference();
  const ours = await serve({ StableAge: 600 });
  try {
    for (const bytes of files) {
      const answer = await fetch(`${reference.url}/instances`, { method: 'POST', body: new Uint8Array(bytes) });
      await answer.arrayBuffer();
      // An old one, which does not read all of them.
      if (answer.status === 200) await upload(bytes, ours.url);
    }
    const patients = (await (await fetch(`${ours.url}/patients`)).json()) as string[];
    assert.ok(patients.length > 8);
    let compared = 0;
    for (const id of patients) {
      const path = `/patients/${id}`;
      const [tags, known] = await Promise.all(
        [ours.url, reference.url].map(async (url) => {
          const { MainDicomTags } = (await (await fetch(url + path)).json()) as { MainDicomTags: unknown };
          return JSON.stringify(MainDicomTags);
        }),
      );
      // It misreads some names, and names folders by them.
      if (tags !== known) continue;
      const [mine, theirs] = await Promise.all([
        archiveOf(`${path}/archive`, {}, ours.url),
        archiveOf(`${path}/archive`, {}, reference.url),
      ]);
      assert.deepEqual(masked(mine.keys()), masked(theirs.keys()));
      const [media, judged] = await Promise.all([
        archiveOf(`${path}/media?extended`, {}, ours.url),
        archiveOf(`${path}/media?extended`, {}, reference.url),
      ]);
      assert.deepEqual([...media.keys()].sort(), [...judged.keys()].sort());
      const [us, them] = [media.get('DICOMDIR'), judged.get('DICOMDIR')];
      assert.ok(us && them);
      const own = records(us);
      // The reference loses letters outside ASCII.
      if (/[^\x00-\x7f]|\x1b/.test(own.join(''))) continue;
      assert.deepEqual(own, records(them), id);
      compared += 1;
    }
    assert.ok(compared >= PLAIN.length, String(compared));
  } finally {
    await ours.close();
    reference.close();
  }
});

test('DCMTK takes a file-set that was unpacked', { skip: without('dcmmkdir') || without('unzip') }, async () => {
  const [first] = await study('94');
  assert.ok(first);
  const into = join(folder, 'set');
  mkdirSync(into);
  const zip = join(folder, 'set.zip');
  writeFileSync(zip, await bytesOf(`/studies/${first.ParentStudy}/media`));
  assert.equal(spawnSync('unzip', ['-q', zip, '-d', into]).status, 0);
  writeFileSync(join(into, 'IMAGES', 'NEW'), made('94', 3, 9));
  const add = spawnSync('dcmmkdir', ['+A', '+I', '-Nrc', 'IMAGES/NEW'], { cwd: into, encoding: 'utf8' });
  assert.equal(add.status, 0, add.stderr);
  const dump = spawnSync('dcmdump', ['DICOMDIR'], { cwd: into, encoding: 'latin1' }).stdout;
  assert.equal(dump.match(/"Directory Record" IMAGE/g)?.length, 5);
});
