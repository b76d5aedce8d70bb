import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { STORAGE_COMMITMENT } from '../../src/dicom/models.ts';
import { readFile } from '../../src/dicom/read.ts';
import { make } from '../dicom/made.ts';
import { freePort, shared, temporaryFolder, without, withoutShared } from '../peer.ts';
import { receive, type Receiver } from '../scu/receiver.ts';
import { type Served, serve } from './served.ts';

let server: Served;
let receiver: Receiver;
/** What the receiver answers, by SOP Instance UID. */
const statuses = new Map<string, number>();
let [offline, scpPort, orthancPort, orthancHttp] = [0, 0, 0, 0];

before(async () => {
  receiver = await receive({ answer: ({ sopInstanceUid }) => statuses.get(sopInstanceUid) ?? 0 });
  [offline, scpPort, orthancPort, orthancHttp] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  server = await serve({
    DicomServerEnabled: false,
    DicomAet: 'REFERENCE',
    LogExportedResources: true,
    DicomModalities: {
      sample: ['STORESCP', '127.0.0.1', receiver.port],
      offline: { AET: 'NOWHERE', Host: '127.0.0.1', Port: offline, MaximumRetries: 1, RetryDelay: 0.1 },
      scp: ['STORESCP', '127.0.0.1', scpPort],
      orthanc: ['ORTHANC', '127.0.0.1', orthancPort],
    },
  });
});
after(async () => {
  await server.close();
  await receiver.close();
});

/** What of the answers is looked at. */
interface Body {
  readonly [name: string]: unknown;
  readonly ID: string;
  readonly ParentStudy: string;
  readonly ParentSeries: string;
  readonly State: string;
  readonly Content: unknown;
  readonly ErrorCode: number;
  readonly ErrorDetails: string;
  readonly Exports: readonly { ID: string; RemoteModality: string; ResourceType: string }[];
}

async function ask(method: string, path: string, body?: string | Uint8Array): Promise<{ status: number; body: Body }> {
  const answer = await fetch(server.url + path, { method, ...(body !== undefined && { body }) });
  const text = await answer.text();
  return { status: answer.status, body: (/^\s*[[{]/.test(text) ? JSON.parse(text) : text) as Body };
}

async function upload(file: Uint8Array): Promise<Body> {
  const { status, body } = await ask('POST', '/instances', file);
  assert.equal(status, 200);
  return body;
}

async function ended(id: string): Promise<Body> {
  for (const end = Date.now() + 10_000; ; await sleep(10)) {
    const { body } = await ask('GET', `/jobs/${id}`);
    if (body.State === 'Success' || body.State === 'Failure') return body;
    assert.ok(Date.now() < end, `${id} does not end: ${JSON.stringify(body)}`);
  }
}

const done = (resources: readonly string[], count = resources.length): object => ({
  Description: 'REST API',
  FailedInstancesCount: 0,
  InstancesCount: count,
  LocalAet: 'REFERENCE',
  ...(resources.length > 0 && { ParentResources: resources }),
  RemoteAet: 'STORESCP',
});

test('one id as text or JSON, a list, an object; of any level', async () => {
  const { ID, ParentStudy } = await upload(make({ sopUid: '1.1' }));
  const other = await upload(make({ sopUid: '1.2' }));
  for (const [body, resources, count] of [
    [ID, [ID], 1],
    [`${ID}\n`, [ID], 1],
    [JSON.stringify(ID), [ID], 1],
    [JSON.stringify([ID, other.ID]), [ID, other.ID], 2],
    [JSON.stringify({ Resources: [ID], Synchronous: true, Timeout: 5 }), [ID], 1],
    [ParentStudy, [ParentStudy], 2],
    // What belongs to two of them goes once.
    [JSON.stringify([ParentStudy, ID]), [ParentStudy, ID], 2],
    ['[]', [], 0],
  ] as const) {
    const before = receiver.received.length;
    const answer = await ask('POST', '/modalities/sample/store', body);
    assert.deepEqual(answer, { status: 200, body: done(resources, count) }, body);
    assert.equal(receiver.received.length - before, count, body);
  }
});

test('what is to be different for one request', async () => {
  const { ID } = await upload(make({ sopUid: '1.1' }));
  const elsewhere = await receive();
  const request = {
    Resources: [ID],
    LocalAet: 'ME',
    CalledAet: 'YOU',
    Host: '127.0.0.1',
    Port: elsewhere.port,
    MoveOriginatorAet: 'MOV',
    MoveOriginatorID: 5,
    UserData: { a: 1 },
  };
  const { status, body } = await ask('POST', '/modalities/sample/store', JSON.stringify(request));
  await elsewhere.close();
  assert.equal(status, 200);
  assert.deepEqual(body, {
    ...done([ID]),
    LocalAet: 'ME',
    MoveOriginatorAET: 'MOV',
    MoveOriginatorID: 5,
    RemoteAet: 'YOU',
  });
  const [came] = elsewhere.received;
  assert.deepEqual([came?.callingAet, came?.calledAet, came?.moveOriginator], ['ME', 'YOU', 'MOV']);
});

test('what is no request is refused as the reference does', async () => {
  const { ID } = await upload(make({ sopUid: '1.1' }));
  const unknown = '66a662ce-7430e543-bad44d47-0dc5a943-ec7a538e';
  for (const [body, status, code, details] of [
    ['', 400, 15, 'Must provide a JSON value'],
    ['nope', 400, 15, 'Must provide a JSON value'],
    ['{}', 400, 15, 'Missing field in JSON: "Resources"'],
    [JSON.stringify({ Resources: ID }), 400, 15, 'JSON field "Resources" must contain an array'],
    ['{"Resources": [5]}', 400, 15, 'Resources to be exported must be specified as a JSON array of strings'],
    [JSON.stringify([ID, 'nope']), 400, 15, 'This string is not a valid Orthanc identifier: nope'],
    [JSON.stringify({ Resources: [ID], LocalAet: 5 }), 400, 5, undefined],
    [unknown, 404, 17, undefined],
  ] as const) {
    const answer = await ask('POST', '/modalities/sample/store', body);
    assert.deepEqual([answer.status, answer.body.OrthancStatus, answer.body.Details], [status, code, details], body);
  }
  for (const route of ['store', 'store-straight']) {
    const { status, body } = await ask('POST', `/modalities/nope/${route}`, ID);
    assert.deepEqual([status, body.OrthancStatus, body.Details], [404, 7, 'No modality with symbolic name: nope']);
  }
});

test('a modality that is not there: an error at once for who waits, attempts for who does not', async () => {
  const { ID } = await upload(make({ sopUid: '1.1' }));
  const details = 'DicomAssociation - connecting to AET "NOWHERE": TCP Initialization Error: Connection refused';
  const { status, body } = await ask('POST', '/modalities/offline/store', ID);
  assert.deepEqual([status, body.OrthancStatus, body.Details], [500, 9, details]);
  const permissive = await ask(
    'POST',
    '/modalities/offline/store',
    JSON.stringify({ Resources: [ID], Permissive: true }),
  );
  assert.equal(permissive.status, 200);
  assert.equal(permissive.body.FailedInstancesCount, 1);

  const { body: job } = await ask(
    'POST',
    '/modalities/offline/store',
    JSON.stringify({ Resources: [ID], Asynchronous: true }),
  );
  assert.deepEqual(job, { ID: job.ID, Path: `/jobs/${job.ID}` });
  const { State, ErrorCode, ErrorDetails } = await ended(job.ID);
  assert.deepEqual([State, ErrorCode, ErrorDetails], ['Failure', 9, details]);
});

test('a modality that does not commit fails the job that asked for it; what was sent is not sent again', async (context) => {
  let commits = false;
  const picky = await receive({
    accept: ({ abstractSyntax, transferSyntaxes }) =>
      abstractSyntax === STORAGE_COMMITMENT && !commits ? undefined : transferSyntaxes[0],
  });
  context.after(() => picky.close());
  await ask('PUT', '/modalities/picky', JSON.stringify({ AET: 'PICKY', Host: '127.0.0.1', Port: picky.port }));
  const { ID } = await upload(make({ sopUid: '1.31' }));
  const body = JSON.stringify({ Resources: [ID], StorageCommitment: true, Asynchronous: true });
  const { body: started } = await ask('POST', '/modalities/picky/store', body);
  const failed = await ended(started.ID);
  assert.equal(failed.State, 'Failure');
  assert.match(failed.ErrorDetails, /presentation context/);
  const { StorageCommitmentTransactionUID: transaction } = failed.Content as Record<string, string>;
  assert.equal((await ask('GET', `/storage-commitment/${transaction ?? ''}`)).status, 404);
  commits = true;
  assert.equal((await ask('POST', `/jobs/${started.ID}/resubmit`)).status, 200);
  assert.equal((await ended(started.ID)).State, 'Success');
  assert.equal((await ask('GET', `/storage-commitment/${transaction ?? ''}`)).body['Status'], 'Pending');
  assert.equal(picky.received.length, 1);
});

test('an instance that is refused fails the job, and says why', async () => {
  const refused = await upload(make({ sopUid: '1.66' }));
  const taken = await upload(make({ sopUid: '1.67' }));
  statuses.set('1.66', 0xa900);
  const details = 'C-STORE SCU to AET "STORESCP" has failed with DIMSE status 0xA900';
  const { status, body } = await ask('POST', '/modalities/sample/store', JSON.stringify([refused.ID, taken.ID]));
  assert.deepEqual([status, body.OrthancStatus, body.Details], [500, 9, details]);
  statuses.set('1.66', 0xb000);
  assert.equal((await ask('POST', '/modalities/sample/store', refused.ID)).status, 200, 'a warning is none');
});

test('many requests at once share one association', async () => {
  const ids = await Promise.all(
    Array.from({ length: 40 }, async (_, index) => (await upload(make({ sopUid: `1.4.${index}` }))).ID),
  );
  const before = receiver.associations;
  const answers = await Promise.all(ids.map((id) => ask('POST', '/modalities/sample/store', id)));
  for (const { status, body } of answers) assert.equal(status, 200, JSON.stringify(body));
  assert.ok(receiver.associations - before <= 1, `${receiver.associations - before} associations`);
});

test('an asynchronous job succeeds, and what it sent is in the log of exports', async () => {
  const { ID, ParentSeries } = await upload(make({ sopUid: '1.1' }));
  const { body: before } = await ask('GET', '/exports?last');
  const { body } = await ask(
    'POST',
    '/modalities/sample/store',
    JSON.stringify({ Resources: [ParentSeries], Synchronous: false, Priority: 7 }),
  );
  const job = await ended(body.ID);
  assert.equal(job.State, 'Success');
  const { body: log } = await ask('GET', `/exports?since=${before.Last}`);
  assert.equal(log.Exports.length, 1);
  assert.deepEqual(
    [log.Exports[0]?.ID, log.Exports[0]?.RemoteModality, log.Exports[0]?.ResourceType],
    [ParentSeries, 'sample', 'Series'],
  );
  assert.notEqual(ID, '');
});

test('a file that is not stored goes straight', async () => {
  const file = make({ sopUid: '1.99.1' });
  const { status, body } = await ask('POST', '/modalities/sample/store-straight', file);
  assert.equal(status, 200);
  assert.deepEqual(body, { SOPClassUID: '1.2.840.10008.5.1.4.1.1.2', SOPInstanceUID: '1.99.1' });
  assert.equal(receiver.received.at(-1)?.sopInstanceUid, '1.99.1');
  assert.deepEqual((await ask('POST', '/tools/lookup', '1.99.1')).body, []);
  const wrong = await ask('POST', '/modalities/sample/store-straight', 'xxx');
  assert.deepEqual([wrong.status, wrong.body.Details], [400, 'Cannot parse an invalid DICOM file (size: 3 bytes)']);
});

/** Pixel Data of a file, as it is encoded. */
function pixels(file: Uint8Array): Buffer {
  const { dataSet } = readFile(file);
  const element = dataSet.elements.get('7fe0,0010');
  if (element === undefined) return Buffer.alloc(0);
  return dataSet.bytes.subarray(element.offset, element.end);
}

test('storescp gets what was stored', { skip: without('storescp') }, async () => {
  const folder = join(temporaryFolder(), 'received');
  mkdirSync(folder);
  // +xa accepts every transfer syntax.
  const scp = spawn('storescp', ['+xa', '-od', folder, String(scpPort)], {
    stdio: 'ignore',
    env: { ...process.env, TCP_NODELAY: '1' },
  });
  try {
    const files = [make({ sopUid: '1.5.1' }), make({ sopUid: '1.5.2', transferSyntax: '1.2.840.10008.1.2' })];
    const ids = await Promise.all(files.map(async (file) => (await upload(file)).ID));
    let answer = await ask('POST', '/modalities/scp/store', JSON.stringify(ids));
    // It takes a moment to listen.
    for (let tries = 0; tries < 50 && answer.status !== 200; tries++) {
      await sleep(50);
      answer = await ask('POST', '/modalities/scp/store', JSON.stringify(ids));
    }
    assert.equal(answer.status, 200);
    const received = readdirSync(folder).sort();
    assert.equal(received.length, 2);
    for (const [index, name] of received.entries()) {
      assert.ok(pixels(readFileSync(join(folder, name))).equals(pixels(files[index] ?? Buffer.alloc(0))), name);
    }
  } finally {
    const gone = once(scp, 'exit');
    scp.kill();
    await gone;
  }
});

test('the reference server gets the samples, compressed ones too', {
  skip: withoutShared || without('Orthanc'),
}, async () => {
  const folder = temporaryFolder();
  writeFileSync(
    join(folder, 'orthanc.json'),
    JSON.stringify({
      Name: 'peer',
      HttpPort: orthancHttp,
      DicomPort: orthancPort,
      StorageDirectory: folder,
      IndexDirectory: folder,
      DicomAlwaysAllowStore: true,
      AuthenticationEnabled: false,
      Plugins: [],
    }),
  );
  const orthanc = spawn('/usr/sbin/Orthanc', [join(folder, 'orthanc.json')], {
    stdio: 'ignore',
    env: { ...process.env, TCP_NODELAY: '1' },
  });
  try {
    const url = `http://127.0.0.1:${orthancHttp}`;
    for (const end = Date.now() + 20_000; ; await sleep(50)) {
      const answer = await fetch(`${url}/system`).catch(() => undefined);
      if (answer?.ok) {
        assert.equal(((await answer.json()) as { Name: string }).Name, 'peer');
        break;
      }
      assert.ok(Date.now() < end);
    }
    const files: Buffer[] = [];
    for (const sample of ['DummyCT.dcm', 'ColorTestImageJ.dcm', 'Knee/T1', 'Brainix/Epi']) {
      const path = shared(`samples/${sample}`) ?? '';
      const all = sample.endsWith('.dcm')
        ? [path]
        : readdirSync(path)
            .slice(0, 3)
            .map((name) => join(path, name));
      files.push(...all.map((each) => readFileSync(each)));
    }
    const ids = await Promise.all(files.map(async (file) => (await upload(file)).ID));
    const { status, body } = await ask('POST', '/modalities/orthanc/store', JSON.stringify(ids));
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(((await (await fetch(`${url}/instances`)).json()) as string[]).sort(), [...new Set(ids)].sort());
    for (const [index, id] of ids.entries()) {
      const theirs = Buffer.from(await (await fetch(`${url}/instances/${id}/file`)).arrayBuffer());
      assert.ok(pixels(theirs).equals(pixels(files[index] ?? Buffer.alloc(0))), id);
    }
  } finally {
    const gone = once(orthanc, 'exit');
    orthanc.kill();
    await gone;
  }
});
