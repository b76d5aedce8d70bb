import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readFile } from '../../src/dicom/read.ts';
import { textOf } from '../../src/dicom/value.ts';
import type { NewElement } from '../../src/dicom/write.ts';
import { make } from '../dicom/made.ts';
import { type Served, serve } from '../http/served.ts';
import { temporaryFolder } from '../peer.ts';
import { receive, type Receiver } from '../scu/receiver.ts';
import { alterBlob, readBlob } from '../storage/blobs.ts';

async function ask(
  { url }: Served,
  method: string,
  path: string,
  body?: string | Uint8Array,
): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(url + path, { method, ...(body !== undefined && { body }) });
  const text = await answer.text();
  return { status: answer.status, body: /^[[{]/.test(text) ? (JSON.parse(text) as unknown) : text };
}

async function upload(server: Served, file: Uint8Array): Promise<{ ID: string; ParentStudy: string }> {
  const { status, body } = await ask(server, 'POST', '/instances', file);
  assert.equal(status, 200);
  return body as { ID: string; ParentStudy: string };
}

async function until(what: string, is: () => boolean | Promise<boolean>, seconds = 10): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await is())) {
    assert.ok(Date.now() < end, `not in time: ${what}`);
    await sleep(10);
  }
}

const uids = (receiver: Receiver): string[] => receiver.received.map(({ sopInstanceUid }) => sopInstanceUid).sort();

async function withModalities(
  context: TestContext,
  options: Readonly<Record<string, unknown>> = {},
): Promise<{ server: Served; a: Receiver; b: Receiver; options: Readonly<Record<string, unknown>> }> {
  const [a, b] = [await receive(), await receive()];
  const all = {
    DicomModalities: { a: ['A', '127.0.0.1', a.port], b: ['B', '127.0.0.1', b.port] },
    DicomAssociationCloseDelay: 1,
    StableAge: 1,
    ...options,
  };
  const server = await serve(all);
  context.after(async () => {
    await server.close();
    await a.close();
    await b.close();
  });
  return { server, a, b, options: all };
}

test('rules decide what goes where', async (context) => {
  const { server, a, b } = await withModalities(context, {
    Routes: {
      ct: { When: { Tags: { Modality: 'CT', PatientID: 'A*' } }, To: 'a' },
      local: { When: { RemoteIp: '127.0.0.0/8', HttpUser: '' }, To: ['b'], Enabled: false },
      deep: { When: { Tags: { BitsAllocated: '8' } }, To: 'b' },
    },
  });
  await upload(server, make({ sopUid: '1.1', patientId: 'A1' }));
  await upload(server, make({ sopUid: '1.2', patientId: 'B1', studyUid: '1.9', seriesUid: '1.9.1' }));
  await upload(server, make({ sopUid: '1.3', patientId: 'B1', studyUid: '1.9', seriesUid: '1.9.1', bits: 8 }));
  await until('two came', () => a.received.length + b.received.length === 2);
  await sleep(200);
  assert.deepEqual([uids(a), uids(b)], [['1.1'], ['1.3']]);
});

test('a rule counts from when it is set until it is removed', async (context) => {
  const { server, a } = await withModalities(context);
  await upload(server, make({ sopUid: '1.1' }));
  assert.equal((await ask(server, 'PUT', '/routes/all', '{"To": "a"}')).status, 200);
  await upload(server, make({ sopUid: '1.2' }));
  await until('it came', () => a.received.length === 1);
  assert.equal((await ask(server, 'PUT', '/routes/all', '{"To": "a", "Enabled": false}')).status, 200);
  await upload(server, make({ sopUid: '1.3' }));
  await sleep(200);
  assert.equal((await ask(server, 'PUT', '/routes/all', '{"To": "a"}')).status, 200);
  await upload(server, make({ sopUid: '1.4' }));
  await until('it came', () => a.received.length === 2);
  assert.equal((await ask(server, 'DELETE', '/routes/all')).status, 200);
  assert.equal((await ask(server, 'DELETE', '/routes/all')).status, 404);
  await upload(server, make({ sopUid: '1.5' }));
  await sleep(200);
  assert.deepEqual(uids(a), ['1.2', '1.4']);
});

test('labels and stability: a resource sends its instances, and when it is stable again what is new', async (context) => {
  const { server, a, b } = await withModalities(context, {
    Routes: [
      { Name: 'stable', When: { Event: 'StableStudy' }, To: 'a' },
      { Name: 'labelled', When: { Event: 'StableStudy', Labels: 'send' }, To: 'b' },
    ],
  });
  const { ParentStudy } = await upload(server, make({ sopUid: '1.1' }));
  await upload(server, make({ sopUid: '1.2' }));
  await ask(server, 'PUT', `/studies/${ParentStudy}/labels/send`);
  await upload(server, make({ sopUid: '1.3', studyUid: '1.8', seriesUid: '1.8.1', patientId: 'OTHER' }));
  await until('the studies came', () => a.received.length === 3 && b.received.length === 2);
  await upload(server, make({ sopUid: '1.4' }));
  await until('the new one came', () => a.received.length === 4 && b.received.length === 3);
  await sleep(300);
  assert.deepEqual(
    [uids(a), uids(b)],
    [
      ['1.1', '1.2', '1.3', '1.4'],
      ['1.1', '1.2', '1.4'],
    ],
  );
});

test('a restart goes on where it stopped, and does not begin again', async (context) => {
  const folder = temporaryFolder();
  const route = { Name: 'all', To: 'a' };
  const { server, a, options } = await withModalities(context, { StorageDirectory: folder, Routes: [route] });
  await upload(server, make({ sopUid: '1.1' }));
  await until('it came', () => a.received.length === 1);
  await ask(server, 'POST', '/modalities/a/queue/pause');
  await upload(server, make({ sopUid: '1.2' }));
  await until('it waits', async () => {
    const { body } = await ask(server, 'GET', '/modalities/a/queue');
    return (body as { Waiting: number }).Waiting === 1;
  });
  await server.close();
  // While no rule is there nothing is to be sent, later either.
  const without = await serve({ ...options, Routes: [] });
  await upload(without, make({ sopUid: '1.3' }));
  await without.close();
  const again = await serve(options);
  try {
    await upload(again, make({ sopUid: '1.4' }));
    await sleep(300);
    assert.deepEqual(uids(a), ['1.1'], 'a pause outlives a restart');
    await ask(again, 'POST', '/modalities/a/queue/resume');
    await until('the others came', () => a.received.length === 3);
    await sleep(200);
    assert.deepEqual(uids(a), ['1.1', '1.2', '1.4']);
  } finally {
    await again.close();
  }
});

/** A received data set, by name; UIDs inside of sequences as well. */
function read({ dataSet }: { readonly dataSet: Buffer }): (tag: string) => string {
  const { dataSet: parsed } = readFile(dataSet);
  return (path) => {
    let [set, tag] = [parsed, path];
    for (let at = path.indexOf('/'); at >= 0; at = tag.indexOf('/')) {
      const item = set.elements.get(tag.slice(0, at))?.items?.[0];
      assert.ok(item, path);
      [set, tag] = [item, tag.slice(at + 1)];
    }
    const element = set.elements.get(tag);
    return element === undefined ? '' : textOf(set, element).trim();
  };
}

test('what a rule modifies leaves modified, the same each time, and refers to the same', async (context) => {
  let lost = 0;
  const flaky = await receive({ answer: () => (++lost <= 2 ? 'abort' : 0) });
  const modality = { AET: 'FLAKY', Host: '127.0.0.1', Port: flaky.port, RetryDelay: 0.1 };
  const { server, a, b } = await withModalities(context);
  context.after(() => flaky.close());
  assert.equal((await ask(server, 'PUT', '/modalities/flaky', JSON.stringify(modality))).status, 200);
  const put = async (name: string, rule: unknown): Promise<void> => {
    assert.deepEqual((await ask(server, 'PUT', `/routes/${name}`, JSON.stringify(rule))).body, '');
  };
  await put('named', { To: 'a', Modify: { Replace: { InstitutionName: 'Elsewhere' }, Level: 'Study' } });
  await put('kept', {
    To: 'flaky',
    Modify: { Replace: { InstitutionName: 'Here' }, Keep: ['SOPInstanceUID'], Force: true },
  });
  await put('nobody', { To: 'b', Anonymize: {}, Transcode: '1.2.840.10008.1.2.5' });
  const reference = (sop: string, of: string): NewElement[] => [
    { tag: '0008,1150', vr: 'UI', value: of },
    { tag: '0008,1155', vr: 'UI', value: sop },
  ];
  const image = make({ sopUid: '1.1', studyUid: '1.9', seriesUid: '1.9.1', patientId: 'P', patientName: 'Doe^Jane' });
  const report = make({
    sopUid: '1.2',
    studyUid: '1.9',
    seriesUid: '1.9.2',
    patientId: 'P',
    patientName: 'Doe^Jane',
    extra: [
      { tag: '0008,1140', vr: 'SQ', value: { items: [reference('1.1', '1.2.840.10008.5.1.4.1.1.2')] } },
      { tag: '0008,1111', vr: 'SQ', value: { items: [reference('1.7', '1.2.840.10008.3.1.2.3.3')] } },
    ],
  });
  // What refers comes before what it refers to.
  const { ID } = await upload(server, report);
  await upload(server, image);
  await until('all came', () => a.received.length === 2 && b.received.length === 2 && flaky.received.length === 2);
  assert.deepEqual(uids(flaky), ['1.1', '1.2']);
  for (const received of flaky.received) {
    const of = read(received);
    assert.deepEqual([of('0008,0080'), of('0020,000d'), of('0010,0020')], ['Here', '1.9', 'P']);
  }
  for (const [receiver, name] of [
    [a, 'named'],
    [b, 'nobody'],
  ] as const) {
    const [first, second] = receiver.received.map(read);
    assert.ok(first && second);
    const [referring, named] = first('0008,1140/0008,1155') === '' ? [second, first] : [first, second];
    assert.match(named('0008,0018'), /^2\.25\./, name);
    assert.equal(referring('0008,1140/0008,1155'), named('0008,0018'), name);
    assert.equal(referring('0020,000d'), named('0020,000d'), name);
    assert.match(named('0020,000d'), /^2\.25\./, name);
    assert.deepEqual(
      uids(receiver),
      [named('0008,0018'), referring('0008,0018')].sort(),
      'the command names the new one',
    );
    if (receiver === a) {
      assert.deepEqual([named('0008,0080'), named('0010,0010')], ['Elsewhere', 'Doe^Jane']);
      assert.equal(referring('0008,1111/0008,1155'), '1.7', 'a procedure step is none of what is sent');
    } else {
      assert.equal(named('0010,0010'), named('0010,0020'));
      assert.notEqual(named('0010,0020'), 'P');
      assert.equal(named('0010,0020'), referring('0010,0020'));
      assert.equal(named('0012,0062'), 'YES');
    }
  }
  assert.deepEqual([...new Set(b.received.map(({ transferSyntax }) => transferSyntax))], ['1.2.840.10008.1.2.5']);
  // Sent again it is no other instance.
  const sent = uids(a);
  const stored = Buffer.from(await (await fetch(`${server.url}/instances/${ID}/file`)).arrayBuffer());
  assert.deepEqual(stored, report, 'what is stored is as it came');
  await ask(server, 'DELETE', `/instances/${ID}`);
  await upload(server, report);
  await until('it came again', () => a.received.length === 3);
  assert.deepEqual([...new Set(uids(a))], sent);
});

test('a modification that an instance cannot take is a failure, and nothing leaves', async (context) => {
  const { server, a } = await withModalities(context, {
    Routes: { all: { To: 'a', Modify: { Replace: { PatientName: 'X' } } } },
  });
  const { ID } = await upload(server, make({ sopUid: '1.1' }));
  await until('it came', () => a.received.length === 1);
  await ask(server, 'POST', '/modalities/a/queue/pause');
  const { ID: altered } = await upload(server, make({ sopUid: '1.2' }));
  assert.notEqual(ID, altered);
  const { body } = await ask(server, 'GET', `/instances/${altered}/attachments/dicom/info`);
  const { Uuid } = body as { Uuid: string };
  alterBlob(server.storage, Uuid, readBlob(server.storage, Uuid).length - 1);
  await ask(server, 'POST', '/modalities/a/queue/resume');
  await until('it failed', async () => {
    const queue = (await ask(server, 'GET', '/modalities/a/queue')).body as { Failed: number };
    return queue.Failed === 1;
  });
  assert.equal(a.received.length, 1);
});

test('what is stored in another transfer syntax meanwhile is not sent as if it were in the old one', async (context) => {
  let go = (): void => {};
  const gone = new Promise<void>((resolve) => (go = resolve));
  const slow = await receive({ answer: async (_, count) => (count === 1 ? gone.then(() => 0) : 0) });
  context.after(() => slow.close());
  const { server } = await withModalities(context, {
    OverwriteInstances: true,
    DicomModalities: { slow: { AET: 'SLOW', Host: '127.0.0.1', Port: slow.port, RetryDelay: 0.1 } },
    Routes: {
      all: { To: 'slow', Modify: { Replace: { InstitutionName: 'Elsewhere' }, Keep: ['SOPInstanceUID'], Force: true } },
    },
  });
  await ask(server, 'POST', '/modalities/slow/queue/pause');
  for (let number = 1; number <= 8; number++) await upload(server, make({ sopUid: `1.${number}` }));
  await until('they wait', async () => {
    const queue = (await ask(server, 'GET', '/modalities/slow/queue')).body as { Waiting: number };
    return queue.Waiting === 8;
  });
  await ask(server, 'POST', '/modalities/slow/queue/resume');
  await until('the first is sent', () => slow.associations === 1);
  await sleep(300);
  await ask(server, 'DELETE', '/routes/all');
  const implicit = '1.2.840.10008.1.2';
  for (let number = 1; number <= 8; number++)
    await upload(server, make({ sopUid: `1.${number}`, transferSyntax: implicit }));
  go();
  await until('all came', () => new Set(uids(slow)).size === 8);
  for (const { dataSet, transferSyntax } of slow.received) {
    // Explicit VR says the VR behind the first tag.
    const isExplicit = /^[A-Z]{2}$/.test(dataSet.toString('latin1', 4, 6));
    assert.equal(isExplicit, transferSyntax !== implicit);
  }
});

test('the routes of the rules', async (context) => {
  const { server } = await withModalities(context, { Routes: [{ Name: 'fixed', To: 'a' }] });
  const { ID } = await upload(server, make({}));
  const rule = { To: ['a', 'b'], When: { CallingAet: 'CT*', Tags: { Modality: 'MR' } }, Priority: 3 };
  assert.equal((await ask(server, 'PUT', '/routes/mine', JSON.stringify(rule))).status, 200);
  assert.deepEqual(await ask(server, 'GET', '/routes'), { status: 200, body: ['fixed', 'mine'] });
  assert.deepEqual(await ask(server, 'GET', '/routes/mine'), {
    status: 200,
    body: { ...rule, Name: 'mine', Enabled: true },
  });
  assert.deepEqual(await ask(server, 'POST', '/routes/mine/test', ID), {
    status: 200,
    body: {
      Matches: false,
      Reasons: ['CallingAet is "", not "CT*"', 'Modality is "CT", not "MR"'],
      To: ['a', 'b'],
    },
  });
  assert.deepEqual(await ask(server, 'POST', '/routes/fixed/test', JSON.stringify({ ID })), {
    status: 200,
    body: { Matches: true, Reasons: [], To: ['a'] },
  });
  assert.deepEqual(await ask(server, 'GET', '/routes?expand'), {
    status: 200,
    body: [
      { Name: 'fixed', To: 'a', Enabled: true, Configured: true },
      { ...rule, Name: 'mine', Enabled: true },
    ],
  });
  // A rule that is not stored, under a name that is, and under one that is not.
  const tried = { ID, Route: { To: 'b', When: { Tags: { Modality: 'CT' } } } };
  for (const name of ['mine', 'none']) {
    assert.deepEqual(await ask(server, 'POST', `/routes/${name}/test`, JSON.stringify(tried)), {
      status: 200,
      body: { Matches: true, Reasons: [], To: ['b'] },
    });
  }
  assert.deepEqual((await ask(server, 'GET', '/routes')).body, ['fixed', 'mine']);
  for (const [method, path, body, status, details] of [
    [
      'POST',
      '/routes/mine/test',
      JSON.stringify({ ID, Route: { To: 'b', When: { Level: 'Nothing' } } }),
      400,
      'Route mine: Level: "Nothing" is no level',
    ],
    ['GET', '/routes/none', undefined, 404, 'No route with name: none'],
    ['POST', '/routes/none/test', ID, 404, 'No route with name: none'],
    ['POST', '/routes/mine/test', 'nonsense', 404, undefined],
    ['PUT', '/routes/mine', '{"To": "nowhere"}', 400, 'Route mine: To: there is no modality and no peer "nowhere"'],
    ['PUT', '/routes/mine', 'nonsense', 400, undefined],
    ['PUT', '/routes/fixed', '{"To": "a"}', 403, 'the route fixed is one of the configuration file'],
    ['DELETE', '/routes/fixed', undefined, 403, 'the route fixed is one of the configuration file'],
  ] as const) {
    const answer = await ask(server, method, path, body);
    assert.equal(answer.status, status, `${method} ${path}`);
    assert.equal((answer.body as { Details?: string }).Details, details, `${method} ${path}`);
  }
});

test('a server does not start with a rule that is none', async () => {
  await assert.rejects(serve({ Routes: [{ Name: 'r', To: 'nobody' }] }), /there is no modality and no peer "nobody"/);
  await assert.rejects(serve({ Routes: [{ To: 'nobody' }] }), /without Name/);
});
