import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readFileMeta } from '../../src/dicom/read.ts';
import { make } from '../dicom/made.ts';
import { type Served, serve } from '../http/served.ts';
import { freePort } from '../peer.ts';
import { receive, type Receiver, type ReceiverOptions } from '../scu/receiver.ts';

/** What a queue answers. */
interface Queue {
  readonly Paused: boolean;
  readonly Waiting: number;
  readonly Active: number;
  readonly Retrying: number;
  readonly Failed: number;
  readonly OldestAge: number | null;
  readonly LastError: string;
  readonly Entries: readonly { Instance: string; State: string; Attempts: number; Reason: string; Route: string }[];
}

/** Modalities by name, beside the address of their receiver. */
type Sending = Readonly<Record<string, unknown>>;

async function ask<T>({ url }: Served, method: string, path: string, body?: string | Uint8Array): Promise<T> {
  const answer = await fetch(url + path, { method, ...(body !== undefined && { body }) });
  const text = await answer.text();
  assert.equal(answer.status, 200, `${method} ${path}: ${text}`);
  return (text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : text) as T;
}

const upload = async (server: Served, file: Uint8Array): Promise<string> =>
  (await ask<{ ID: string }>(server, 'POST', '/instances', file)).ID;

const queueOf = (server: Served, name: string): Promise<Queue> => ask(server, 'GET', `/modalities/${name}/queue`);

/** Waits until it is so. */
async function until(what: string, is: () => boolean | Promise<boolean>, seconds = 10): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await is())) {
    assert.ok(Date.now() < end, `not in time: ${what}`);
    await sleep(10);
  }
}

const idle = (server: Served, name: string): Promise<void> =>
  until(`${name} has nothing left`, async () => {
    const { Waiting, Active, Retrying } = await queueOf(server, name);
    return Waiting + Active + Retrying === 0;
  });

/** Instances of one series, each with pixels of its own. */
function images(count: number, more: Parameters<typeof make>[0] = {}): Buffer[] {
  return Array.from({ length: count }, (_, index) =>
    make({ sopUid: `1.2.3.${index + 1}`, pixels: Buffer.alloc(48, index + 1), ...more }),
  );
}

const dataSetOf = (file: Uint8Array): Buffer => Buffer.from(file.subarray(readFileMeta(file).end));

/** A server with the modality `pacs` behind a receiver, to which a rule sends everything. */
async function withReceiver(
  context: TestContext,
  options: ReceiverOptions & { readonly sending?: Sending; readonly server?: Sending } = {},
): Promise<{ server: Served; receiver: Receiver }> {
  const receiver = await receive(options);
  const server = await serve({
    DicomModalities: {
      pacs: { AET: 'PACS', Host: '127.0.0.1', Port: receiver.port, RetryDelay: 0.05, ...options.sending },
    },
    Routes: [{ Name: 'all', To: 'pacs' }],
    DicomAssociationCloseDelay: 2,
    ...options.server,
  });
  context.after(async () => {
    await server.close();
    await receiver.close();
  });
  return { server, receiver };
}

test('what waits goes over one association, byte by byte as it is stored', async (context) => {
  const { server, receiver } = await withReceiver(context);
  const files = images(60);
  await Promise.all(files.map((file) => upload(server, file)));
  await until('all came', () => receiver.received.length >= files.length);
  await idle(server, 'pacs');
  // More, after a while in which the association had nothing to do.
  await sleep(300);
  const late = make({ sopUid: '1.2.3.1000' });
  await upload(server, late);
  await until('the late one came', () => receiver.received.length > files.length);
  assert.equal(receiver.associations, 1);
  const came = new Map(receiver.received.map(({ sopInstanceUid, dataSet }) => [sopInstanceUid, dataSet]));
  assert.equal(came.size, files.length + 1);
  for (const [index, file] of files.entries()) assert.deepEqual(came.get(`1.2.3.${index + 1}`), dataSetOf(file));
  assert.equal(receiver.received[0]?.calledAet, 'PACS');
  assert.equal(receiver.received[0]?.callingAet, 'ISEN');
});

test('a file larger than is read at once arrives whole', async (context) => {
  const { server, receiver } = await withReceiver(context);
  const pixels = Buffer.alloc(2 * 2000 * 1500);
  for (let at = 0; at < pixels.length; at += 4) pixels.writeUInt32LE(at, at);
  const file = make({ rows: 2000, columns: 1500, pixels });
  await upload(server, file);
  await until('it came', () => receiver.received.length > 0);
  assert.ok(dataSetOf(file).equals(receiver.received[0]?.dataSet ?? Buffer.alloc(0)));
});

test('more contexts than one association has make a further one', async (context) => {
  const { server, receiver } = await withReceiver(context, { sending: { MaximumAssociations: 1 } });
  await ask(server, 'POST', '/modalities/pacs/queue/pause');
  const count = 150;
  for (let index = 0; index < count; index++) {
    const sopClass = { tag: '0008,0016', vr: 'UI', value: `1.2.840.10008.5.1.4.1.1.${index + 1}` } as const;
    await upload(server, make({ sopUid: `1.2.3.${index}`, extra: [sopClass] }));
  }
  await ask(server, 'POST', '/modalities/pacs/queue/resume');
  await until('all came', () => receiver.received.length >= count);
  assert.ok(receiver.associations > 1 && receiver.associations < 10, `${receiver.associations} associations`);
  assert.ok(receiver.offered.length <= 128);
});

test('an unaccepted transfer syntax is transcoded', async (context) => {
  const implicit = '1.2.840.10008.1.2';
  const { server, receiver } = await withReceiver(context, {
    accept: ({ transferSyntaxes }) => transferSyntaxes.find((each) => each === implicit),
  });
  await upload(server, make({}));
  await until('it came', () => receiver.received.length > 0);
  assert.equal(receiver.received[0]?.transferSyntax, implicit);
  const expected = dataSetOf(make({ transferSyntax: implicit }));
  assert.ok(expected.equals(receiver.received[0]?.dataSet ?? Buffer.alloc(0)));
});

test('what nobody accepts is a failure with its reason, never a success', async (context) => {
  const { server, receiver } = await withReceiver(context, { accept: () => undefined });
  const id = await upload(server, make({}));
  await until('it failed', async () => (await queueOf(server, 'pacs')).Failed === 1);
  const { Entries } = await queueOf(server, 'pacs');
  assert.equal(Entries[0]?.Instance, id);
  assert.equal(Entries[0]?.Route, 'all');
  assert.match(Entries[0]?.Reason ?? '', /presentation context/);
  assert.equal(receiver.received.length, 0);
});

test('transcoding that is not allowed is not done', async (context) => {
  const { server, receiver } = await withReceiver(context, {
    accept: ({ transferSyntaxes }) => transferSyntaxes.find((each) => each === '1.2.840.10008.1.2'),
    sending: { AllowTranscoding: false },
  });
  await upload(server, make({}));
  await until('it failed', async () => (await queueOf(server, 'pacs')).Failed === 1);
  assert.equal(receiver.received.length, 0);
  assert.ok(receiver.offered.every(({ transferSyntaxes }) => transferSyntaxes.length === 1));
});

test('what is out of resources is tried again; what can never be is not; the rest is until its attempts are used up', async (context) => {
  const answers: Record<string, number[]> = {
    '1.2.3.1': [0xa700, 0xa700, 0],
    '1.2.3.2': [0xb000],
    '1.2.3.3': [0xa900, 0],
    '1.2.3.4': [0xc123, 0xc123, 0xc123, 0],
    '1.2.3.5': [0x0111],
  };
  const asked: Record<string, number> = {};
  const { server, receiver } = await withReceiver(context, {
    answer: ({ sopInstanceUid }) => {
      asked[sopInstanceUid] = (asked[sopInstanceUid] ?? 0) + 1;
      return answers[sopInstanceUid]?.shift() ?? 0;
    },
    sending: { MaximumRetries: 2 },
  });
  for (const file of images(5)) await upload(server, file);
  await until('two failed for good', async () => {
    const { Failed, Waiting, Active, Retrying } = await queueOf(server, 'pacs');
    return Failed === 2 && Waiting + Active + Retrying === 0;
  });
  assert.deepEqual(asked, { '1.2.3.1': 3, '1.2.3.2': 1, '1.2.3.3': 1, '1.2.3.4': 3, '1.2.3.5': 1 });
  const { Entries } = await queueOf(server, 'pacs');
  assert.deepEqual(
    Entries.map(({ Reason, Attempts, State }) => [Reason, Attempts, State]),
    [
      ['C-STORE SCU to AET "PACS" has failed with DIMSE status 0xA900', 1, 'failed'],
      ['C-STORE SCU to AET "PACS" has failed with DIMSE status 0xC123', 3, 'failed'],
    ],
  );
  assert.deepEqual(await ask(server, 'POST', '/modalities/pacs/queue/retry'), { Count: 2 });
  await idle(server, 'pacs');
  assert.equal((await queueOf(server, 'pacs')).Failed, 0);
  assert.deepEqual(receiver.received.map(({ sopInstanceUid }) => sopInstanceUid).sort(), [
    '1.2.3.1',
    '1.2.3.2',
    '1.2.3.3',
    '1.2.3.4',
  ]);
  assert.equal(receiver.associations, 1);
});

test('warnings are tried again where that is wanted', async (context) => {
  let first = true;
  const { server, receiver } = await withReceiver(context, {
    answer: () => (first ? ((first = false), 0xb007) : 0),
    sending: { RetryOnWarning: true },
  });
  await upload(server, make({}));
  await until('it came twice', () => receiver.received.length === 2);
  await idle(server, 'pacs');
});

test('a dead modality delays no other, and gets everything once it is back', async (context) => {
  const alive = await receive();
  const dead = await receive({}, await freePort());
  await dead.close();
  const server = await serve({
    DicomModalities: {
      alive: ['ALIVE', '127.0.0.1', alive.port],
      dead: { AET: 'DEAD', Host: '127.0.0.1', Port: dead.port, RetryDelay: 0.2, RetryDelayMultiplier: 1 },
    },
    Routes: [{ Name: 'all', To: ['dead', 'alive'] }],
  });
  context.after(async () => {
    await server.close();
    await alive.close();
    await dead.close();
  });
  for (const file of images(30)) await upload(server, file);
  // While the first is dead still.
  await until('the other has all', () => alive.received.length === 30);
  await until('the dead one is noticed', async () => (await queueOf(server, 'dead')).LastError !== '');
  const queue = await queueOf(server, 'dead');
  assert.equal(queue.Waiting + queue.Retrying + queue.Active, 30);
  assert.match(queue.LastError, /connecting to AET "DEAD".*refused/);
  await dead.open();
  await until('it got all', () => dead.received.length === 30);
  await idle(server, 'dead');
  assert.equal((await queueOf(server, 'dead')).LastError, '');
  assert.equal(new Set(dead.received.map(({ sopInstanceUid }) => sopInstanceUid)).size, 30);
});

test('attempts at a dead modality run out, and what is left waits for people', async (context) => {
  const { server, receiver } = await withReceiver(context, { sending: { MaximumRetries: 2 } });
  await receiver.close();
  for (const file of images(5)) await upload(server, file);
  await until('all failed', async () => (await queueOf(server, 'pacs')).Failed === 5);
  const { Entries } = await queueOf(server, 'pacs');
  assert.ok(Entries.every(({ Attempts }) => Attempts === 3));
  await receiver.open();
  assert.deepEqual(await ask(server, 'POST', '/modalities/pacs/queue/retry'), { Count: 5 });
  await until('all came', () => receiver.received.length === 5);
});

test('associations that break off lose nothing', async (context) => {
  const { server, receiver } = await withReceiver(context, { answer: (_, count) => (count % 7 === 0 ? 'abort' : 0) });
  const files = images(60);
  await Promise.all(files.map((file) => upload(server, file)));
  await until('all came', () => receiver.received.length === files.length);
  await idle(server, 'pacs');
  assert.equal(new Set(receiver.received.map(({ sopInstanceUid }) => sopInstanceUid)).size, files.length);
  assert.equal((await queueOf(server, 'pacs')).Failed, 0);
});

test('a paused queue keeps what comes; the higher priority goes first; an emptied one is empty', async (context) => {
  const { server, receiver } = await withReceiver(context, {
    server: {
      Routes: [
        { Name: 'low', To: 'pacs', When: { Tags: { PatientID: 'LOW' } } },
        { Name: 'high', To: 'pacs', When: { Tags: { PatientID: 'HIGH' } }, Priority: 5 },
      ],
    },
  });
  await ask(server, 'POST', '/modalities/pacs/queue/pause');
  for (const file of images(3, { patientId: 'LOW' })) await upload(server, file);
  for (const file of images(3, { patientId: 'HIGH', studyUid: '1.9', seriesUid: '1.9.1' })) await upload(server, file);
  await until('they wait', async () => (await queueOf(server, 'pacs')).Waiting === 6);
  await sleep(100);
  const { Paused, OldestAge } = await queueOf(server, 'pacs');
  assert.equal(Paused, true);
  assert.ok(OldestAge !== null && OldestAge < 5);
  assert.equal(receiver.associations, 0);
  await ask(server, 'POST', '/modalities/pacs/queue/resume');
  await until('all came', () => receiver.received.length === 6);
  const order = receiver.received.map(({ dataSet }) => (dataSet.includes('HIGH') ? 'high' : 'low'));
  assert.deepEqual(order, ['high', 'high', 'high', 'low', 'low', 'low']);

  await ask(server, 'POST', '/modalities/pacs/queue/pause');
  await upload(server, make({ patientId: 'LOW', sopUid: '1.2.3.77' }));
  await until('it waits', async () => (await queueOf(server, 'pacs')).Waiting === 1);
  assert.deepEqual(await ask(server, 'DELETE', '/modalities/pacs/queue'), { Count: 1 });
  await ask(server, 'POST', '/modalities/pacs/queue/resume');
  await sleep(100);
  assert.equal(receiver.received.length, 6);
});

test('all queues are told together, also of what is not known any more', async (context) => {
  const { server } = await withReceiver(context, {
    answer: () => 0xa700,
    sending: { MaximumRetries: 0 },
    server: { OrthancPeers: { other: ['http://127.0.0.1:9/'] }, Webhooks: { ris: { Url: 'http://127.0.0.1:9/' } } },
  });
  await ask(server, 'POST', '/webhooks/ris/queue/pause');
  await upload(server, make({}));
  await until('it failed', async () => (await queueOf(server, 'pacs')).Failed === 1);
  type Named = Queue & { readonly Kind: string; readonly Name: string; readonly Known: boolean };
  const told = async (): Promise<readonly unknown[]> =>
    (await ask<Named[]>(server, 'GET', '/queues')).map(({ Kind, Name, Known, Paused, Failed, Waiting }) => [
      Kind,
      Name,
      Known,
      Paused,
      Failed,
      Waiting > 0,
    ]);
  const others = [
    ['peer', 'other', true, false, 0, false],
    ['webhook', 'ris', true, true, 0, true],
  ];
  assert.deepEqual(await told(), [['modality', 'pacs', true, false, 1, false], ...others]);
  await ask(server, 'DELETE', '/modalities/pacs');
  assert.deepEqual(await told(), [...others, ['modality', 'pacs', false, false, 1, false]]);
  // What is shown of one queue is what is shown of all, and its entries besides.
  const [{ Kind, Name, Known, ...status } = {} as Named] = await ask<Named[]>(server, 'GET', '/queues');
  assert.deepEqual([Kind, Name, Known], ['peer', 'other', true]);
  const { Entries, ...one } = await ask<Queue & { Last?: number; Done?: boolean }>(server, 'GET', '/peers/other/queue');
  assert.deepEqual(Entries, []);
  delete one.Last;
  delete one.Done;
  assert.deepEqual(status, one);
});

test('several associations share the work, where they may', async (context) => {
  const { server, receiver } = await withReceiver(context, {
    answer: async () => {
      await sleep(20);
      return 0;
    },
    sending: { MaximumAssociations: 3 },
  });
  await Promise.all(images(60).map((file) => upload(server, file)));
  await until('all came', () => receiver.received.length === 60);
  assert.equal(receiver.most, 3);
});

test('no more a second than the rate allows', async (context) => {
  const times: number[] = [];
  const { server, receiver } = await withReceiver(context, {
    answer: () => {
      times.push(performance.now());
      return 0;
    },
    sending: { RateLimit: 20, MaximumAssociations: 2 },
  });
  await Promise.all(images(15).map((file) => upload(server, file)));
  await until('all came', () => receiver.received.length === 15);
  const seconds = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / 1000;
  assert.ok(seconds > 14 / 20 - 0.1, `${seconds} s`);
});

test('an instance that was deleted meanwhile fails with that reason', async (context) => {
  const { server, receiver } = await withReceiver(context);
  await ask(server, 'POST', '/modalities/pacs/queue/pause');
  const [gone = '', stays = ''] = await Promise.all(images(2).map((file) => upload(server, file)));
  await until('they wait', async () => (await queueOf(server, 'pacs')).Waiting === 2);
  await ask(server, 'DELETE', `/instances/${gone}`);
  await ask(server, 'POST', '/modalities/pacs/queue/resume');
  await until('one failed', async () => (await queueOf(server, 'pacs')).Failed === 1);
  await until('one came', () => receiver.received.length === 1);
  const { Entries } = await queueOf(server, 'pacs');
  assert.equal(Entries[0]?.Instance, gone);
  assert.match(Entries[0]?.Reason ?? '', /not stored any more/);
  assert.notEqual(stays, gone);
});

test('what is sent to another address in the name of a modality neither waits for it nor holds it up', async (context) => {
  const elsewhere = await receive();
  const gone = await freePort();
  const { server, receiver } = await withReceiver(context, { sending: { RetryDelay: 30 } });
  context.after(() => elsewhere.close());
  const [id = ''] = await Promise.all(images(1).map((file) => upload(server, file)));
  await until('it came', () => receiver.received.length === 1);
  const store = (more: object): Promise<unknown> =>
    ask(server, 'POST', '/modalities/pacs/store', JSON.stringify({ Resources: [id], Asynchronous: true, ...more }));
  // Nobody is there: the modality itself goes on.
  await store({ Port: gone });
  await until('that is noticed', async () => (await queueOf(server, 'pacs')).Retrying === 1);
  assert.match((await queueOf(server, 'pacs')).LastError, /refused/);
  await upload(server, make({ sopUid: '1.2.3.50' }));
  await until('the rule is served', () => receiver.received.length === 2);
  // The modality is gone: the other address is served.
  await receiver.close();
  await upload(server, make({ sopUid: '1.2.3.51' }));
  await until('that is noticed too', async () => (await queueOf(server, 'pacs')).Retrying === 2);
  await store({ Port: elsewhere.port, CalledAet: 'OTHER' });
  await until('it came there', () => elsewhere.received.length === 1);
  assert.equal(elsewhere.received[0]?.calledAet, 'OTHER');
  // All of it is one queue to people.
  const { Entries } = await queueOf(server, 'pacs');
  assert.equal(Entries.length, 2);
  assert.deepEqual(await ask(server, 'DELETE', '/modalities/pacs/queue'), { Count: 2 });
  assert.equal((await queueOf(server, 'pacs')).Retrying, 0);
});

test('an emptied queue sends nothing more than what was just being sent', async (context) => {
  const { server, receiver } = await withReceiver(context, {
    answer: async () => {
      await sleep(200);
      return 0;
    },
  });
  await ask(server, 'POST', '/modalities/pacs/queue/pause', '');
  await Promise.all(images(20).map((file) => upload(server, file)));
  await until('all are queued', async () => (await queueOf(server, 'pacs')).Waiting === 20);
  await ask(server, 'POST', '/modalities/pacs/queue/resume', '');
  await until('some are taken', async () => (await queueOf(server, 'pacs')).Active > 2);
  const { Count } = await ask<{ Count: number }>(server, 'DELETE', '/modalities/pacs/queue');
  assert.ok(Count > 15, `${Count} given up`);
  const came = receiver.received.length;
  await sleep(700);
  assert.ok(receiver.received.length <= came + 1, `${receiver.received.length - came} more came`);
  const { Waiting, Active, Failed } = await queueOf(server, 'pacs');
  assert.deepEqual([Waiting, Active, Failed], [0, 0, 0]);
});

test('a cancelled job sends nothing more, and the retry of its queue leaves it alone', async (context) => {
  const { server, receiver } = await withReceiver(context, {
    answer: async () => {
      await sleep(200);
      return 0;
    },
    server: { Routes: [] },
  });
  const ids = await Promise.all(images(20).map((file) => upload(server, file)));
  const body = JSON.stringify({ Resources: ids, Asynchronous: true });
  const { ID } = await ask<{ ID: string }>(server, 'POST', '/modalities/pacs/store', body);
  await until('some are taken', async () => (await queueOf(server, 'pacs')).Active > 2);
  await ask(server, 'POST', `/jobs/${ID}/cancel`);
  const came = receiver.received.length;
  await sleep(700);
  assert.ok(receiver.received.length <= came + 1, `${receiver.received.length - came} more came`);
  assert.ok((await queueOf(server, 'pacs')).Failed > 15);
  assert.deepEqual(await ask(server, 'POST', '/modalities/pacs/queue/retry'), { Count: 0 });
  await sleep(300);
  assert.ok(receiver.received.length <= came + 1);
});

test('the entries of a paused job are counted, and a page of none is the last', async (context) => {
  const { server } = await withReceiver(context, { server: { Routes: [] } });
  await ask(server, 'POST', '/modalities/pacs/queue/pause');
  const ids = await Promise.all(images(3).map((file) => upload(server, file)));
  const body = JSON.stringify({ Resources: ids, Asynchronous: true });
  const { ID } = await ask<{ ID: string }>(server, 'POST', '/modalities/pacs/store', body);
  await ask(server, 'POST', `/jobs/${ID}/pause`);
  const queue = await ask<{ Waiting: number; Held: number }>(server, 'GET', '/modalities/pacs/queue');
  assert.deepEqual([queue.Waiting, queue.Held], [0, 3]);
  const none = await ask<{ Entries: unknown[]; Done: boolean }>(server, 'GET', '/modalities/pacs/queue?limit=0');
  assert.deepEqual([none.Entries, none.Done], [[], true]);
});

test('a rate of one in many seconds does not hold up the end', async (context) => {
  const { server, receiver } = await withReceiver(context, { sending: { RateLimit: 0.01 } });
  await Promise.all(images(3).map((file) => upload(server, file)));
  await until('the first came', () => receiver.received.length === 1);
  await until('the others wait', async () => {
    const { Waiting, Active } = await queueOf(server, 'pacs');
    return Waiting + Active === 2;
  });
  const began = performance.now();
  await server.close();
  assert.ok(performance.now() - began < 5000);
});

test('nothing is sent outside the hours of a schedule', async (context) => {
  const hour = (offset: number): string => {
    const at = new Date(Date.now() + offset * 3_600_000);
    return `${String(at.getHours()).padStart(2, '0')}:${String(at.getMinutes()).padStart(2, '0')}`;
  };
  const { server, receiver } = await withReceiver(context, { sending: { Schedule: `${hour(2)}-${hour(4)}` } });
  await upload(server, make({}));
  await until('it waits', async () => (await queueOf(server, 'pacs')).Waiting === 1);
  await sleep(300);
  assert.equal(receiver.associations, 0);
  const description = {
    AET: 'PACS',
    Host: '127.0.0.1',
    Port: receiver.port,
    Schedule: [`${hour(2)}-${hour(4)}`, `${hour(-1)}-${hour(1)}`],
  };
  await ask(server, 'PUT', '/modalities/pacs', JSON.stringify(description));
  await until('it came', () => receiver.received.length === 1);
});
