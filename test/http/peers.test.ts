import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startReference } from '../debian-reference.ts';
import { make } from '../dicom/made.ts';
import { freePort, temporaryFolder, without } from '../peer.ts';
import { certificates } from '../scp/certificates.ts';
import { startBadServer } from './bad-server.ts';
import { type Served, serve } from './served.ts';

type Json = Record<string, unknown>;

async function ask<T = Json>(url: string, method: string, path: string, body?: unknown, status = 200): Promise<T> {
  const sent =
    body === undefined || typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
  const answer = await fetch(url + path, { method, ...(sent !== undefined && { body: sent as string }) });
  const text = await answer.text();
  assert.equal(answer.status, status, `${method} ${path}: ${text}`);
  return (/^[{[]/.test(text) ? JSON.parse(text) : text) as T;
}

async function until(what: string, is: () => boolean | Promise<boolean>, seconds = 15): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await is())) {
    assert.ok(Date.now() < end, `not in time: ${what}`);
    await sleep(20);
  }
}

const images = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, index) =>
    make({ sopUid: `1.2.3.${index + 1}`, pixels: Buffer.alloc(48, index + 1) }),
  );

async function start(context: TestContext, options: Json = {}): Promise<Served> {
  const server = await serve(options);
  context.after(() => server.close());
  return server;
}

const upload = async (url: string, file: Uint8Array): Promise<{ ID: string; ParentStudy: string }> =>
  ask(url, 'POST', '/instances', file);

/** Every stored file is at the other server, byte by byte. */
async function sameFiles(from: string, to: string): Promise<void> {
  const ids = await ask<string[]>(from, 'GET', '/instances');
  assert.deepEqual((await ask<string[]>(to, 'GET', '/instances')).sort(), ids.sort());
  for (const id of ids) {
    const [one, other] = await Promise.all(
      [from, to].map(async (url) => Buffer.from(await (await fetch(`${url}/instances/${id}/file`)).arrayBuffer())),
    );
    assert.ok(one !== undefined && other !== undefined && one.equals(other), id);
  }
}

test('peers are listed, shown, changed and forgotten as the reference does it', async (context) => {
  const { url } = await start(context, {
    OrthancPeers: {
      two: ['http://127.0.0.1:8043'],
      named: { Url: 'http://127.0.0.1:8044/', Username: 'u', Password: 'p', HttpHeaders: { 'X-A': 'b' }, Timeout: 3 },
    },
  });
  assert.deepEqual(await ask(url, 'GET', '/peers'), ['named', 'two']);
  const two = { HttpHeaders: [], Pkcs11: false, Timeout: 0, Url: 'http://127.0.0.1:8043/' };
  const named = {
    HttpHeaders: ['X-A'],
    Password: null,
    Pkcs11: false,
    Timeout: 3,
    Url: 'http://127.0.0.1:8044/',
    Username: 'u',
  };
  assert.deepEqual(await ask(url, 'GET', '/peers?expand'), { named, two });
  assert.deepEqual(await ask(url, 'GET', '/peers/two'), ['configuration', 'store', 'store-straight', 'system']);
  assert.deepEqual(await ask(url, 'GET', '/peers/named/configuration'), named);
  assert.equal((await ask(url, 'GET', '/peers/none/configuration', undefined, 404))['OrthancStatus'], 17);
  await ask(url, 'GET', '/peers/none', undefined, 404);

  await ask(url, 'PUT', '/peers/new', ['http://a', 'u', 'p']);
  assert.deepEqual(await ask(url, 'GET', '/peers/new/configuration'), {
    HttpHeaders: [],
    Password: null,
    Pkcs11: false,
    Timeout: 0,
    Url: 'http://a/',
    Username: 'u',
  });
  await ask(url, 'PUT', '/peers/new', { URL: 'http://x', MaximumAssociations: 2 });
  assert.equal((await ask(url, 'GET', '/peers/new/configuration'))['MaximumAssociations'], 2);
  const wrong: [unknown, number, string | undefined][] = [
    [['ftp://x'], 400, 'Bad URL: ftp://x'],
    [['http://a', 'b'], 400, undefined],
    [['a', 'b', 'c', 'd', 'e', 'f'], 400, undefined],
    [{ Url: 5 }, 400, undefined],
    [{ Nope: 'x' }, 400, 'Empty URL'],
    [{ Url: 'http://a', HttpHeaders: { a: 5 } }, 400, undefined],
    [{ Url: 'http://a', HttpHeaders: { a: 'b\r\nc: d' } }, 400, undefined],
    [{ Url: 'https://a', CertificateFile: '/x/y' }, 404, 'Cannot open certificate file: /x/y'],
  ];
  for (const [body, status, details] of wrong)
    assert.equal((await ask(url, 'PUT', '/peers/new', body, status))['Details'], details, JSON.stringify(body));
  assert.match(String((await ask(url, 'PUT', '/peers/n%20w', ['http://a'], 400))['Details']), /Only alphanumeric/);
  await ask(url, 'DELETE', '/peers/new');
  assert.equal((await ask(url, 'DELETE', '/peers/new', undefined, 404))['Details'], 'Unknown Orthanc peer: new');
});

test('peers in the index outlive the server, with their secrets', async (context) => {
  const storage = temporaryFolder();
  const other = await start(context, {
    AuthenticationEnabled: true,
    RegisteredUsers: { alice: 'secret-password' },
  });
  const options = { StorageDirectory: storage, OrthancPeersInDatabase: true };
  const first = await serve(options);
  await ask(first.url, 'PUT', '/peers/two', { Url: other.url, Username: 'alice', Password: 'secret-password' });
  await first.close();
  const { url } = await start(context, options);
  assert.equal((await ask(url, 'GET', '/peers/two/configuration'))['Username'], 'alice');
  assert.equal((await ask(url, 'GET', '/peers/two/system'))['Version'], '1.13.0');
});

test('a peer that is put as it was shown keeps its secrets, unless it is another server', async (context) => {
  const bad = await startBadServer((response) => void response.end('{}'));
  const other = await startBadServer((response) => void response.end('{}'));
  context.after(() => Promise.all([bad.close(), other.close()]));
  const { url } = await start(context);
  const sent = async (): Promise<readonly (string | string[] | undefined)[]> => {
    await ask(url, 'GET', '/peers/two/system');
    const { authorization, 'x-a': a, 'x-b': b } = [...bad.asked, ...other.asked].at(-1)?.headers ?? {};
    return [authorization?.slice('Basic '.length), a, b];
  };
  const known = Buffer.from('u:p').toString('base64');
  const headers = { 'X-A': 'one', 'X-B': 'two' };
  await ask(url, 'PUT', '/peers/two', { Url: bad.url, Username: 'u', Password: 'p', HttpHeaders: headers });
  const shown = await ask(url, 'GET', '/peers/two/configuration');
  await ask(url, 'PUT', '/peers/two', { ...shown, Timeout: 9 });
  assert.deepEqual(await sent(), [known, 'one', 'two']);
  await ask(url, 'PUT', '/peers/two', {
    ...shown,
    Url: `${bad.url}below/`,
    HttpHeaders: { 'X-A': null, 'X-B': 'new' },
  });
  assert.deepEqual(await sent(), [known, 'one', 'new']);
  await ask(url, 'PUT', '/peers/two', { ...shown, HttpHeaders: ['X-C'] }, 400);
  // Whoever may change a peer may not have its password sent to themselves.
  await ask(url, 'PUT', '/peers/two', { ...shown, Url: other.url }, 400);
  await ask(url, 'PUT', '/peers/two', { ...shown, Url: other.url, HttpHeaders: {} });
  assert.deepEqual((await sent()).slice(1), [undefined, undefined]);
  assert.notEqual((await sent())[0], known);
});

test('what clients set goes only where it may', async (context) => {
  const bad = await startBadServer((response) => void response.end('{}'));
  context.after(() => bad.close());
  const { url } = await start(context, {
    OutgoingHttpAllowed: ['10.0.0.0/8', '*.example.org', 'https://pacs.test/orthanc/'],
    OrthancPeers: { trusted: [bad.url] },
  });
  for (const each of ['http://10.2.3.4:8042', 'http://a.example.org', 'https://pacs.test/orthanc'])
    await ask(url, 'PUT', '/peers/new', [each]);
  const refused = [
    bad.url,
    'http://127.0.0.1:22/',
    'http://example.org',
    'http://pacs.test/orthanc',
    'https://pacs.test/other',
  ];
  for (const each of refused) {
    await ask(url, 'PUT', '/peers/new', [each], 403);
    await ask(url, 'PUT', '/webhooks/new', { Url: each }, 403);
  }
  await ask(url, 'GET', '/peers/trusted/system');
});

test('store sends all levels to another server, plain, compressed, transcoded, straight, and by rules', async (context) => {
  const other = await start(context);
  const { url } = await start(context, {
    OrthancPeers: { two: [other.url] },
    LogExportedResources: true,
  });
  const stored = await Promise.all(images(12).map((file) => upload(url, file)));
  const [{ ID, ParentStudy }] = stored as [{ ID: string; ParentStudy: string }];
  const content = await ask(url, 'POST', '/peers/two/store', ID);
  const { Size, ...others } = content;
  assert.deepEqual(others, {
    Compress: false,
    Description: 'REST API',
    FailedInstancesCount: 0,
    InstancesCount: 1,
    ParentResources: [ID],
    Peer: [`${other.url}/`],
    SizeMB: 0,
  });
  assert.equal(Size, String(images(1)[0]?.length));
  assert.equal(
    (await ask<{ InstancesCount: number }>(url, 'POST', '/peers/two/store', [ParentStudy])).InstancesCount,
    12,
  );
  await sameFiles(url, other.url);
  const { Exports } = await ask<{ Exports: Json[] }>(url, 'GET', '/exports');
  assert.deepEqual(
    Exports.map(({ RemoteModality, ResourceType }) => [RemoteModality, ResourceType]),
    [
      ['two', 'Instance'],
      ['two', 'Study'],
    ],
  );

  await ask(other.url, 'DELETE', `/studies/${ParentStudy}`);
  const job = await ask(url, 'POST', '/peers/two/store', {
    Resources: [ParentStudy],
    Compress: true,
    Asynchronous: true,
  });
  await until('the job ended', async () => (await ask(url, 'GET', String(job['Path'])))['State'] === 'Success');
  assert.equal((await ask(url, 'GET', String(job['Path'])))['Type'], 'OrthancPeerStore');
  await sameFiles(url, other.url);

  await ask(other.url, 'DELETE', `/studies/${ParentStudy}`);
  await ask(url, 'POST', '/peers/two/store', { Resources: [ID], Transcode: '1.2.840.10008.1.2.4.80' });
  assert.equal(await ask(other.url, 'GET', `/instances/${ID}/metadata/TransferSyntax`), '1.2.840.10008.1.2.4.80');

  const straight = await ask(url, 'POST', '/peers/two/store-straight', make({ sopUid: '1.2.9' }));
  assert.equal(straight['Status'], 'Success');
  assert.equal((await ask<string[]>(url, 'GET', '/instances')).length, 12);
  assert.equal(
    (await ask(url, 'POST', '/peers/two/store-straight', 'junk', 500))['Details'],
    'Cannot send DICOM to remote peer: two',
  );

  for (const [body, status, details] of [
    ['nope', 400, 'Must provide a JSON value'],
    [{ Resources: [ID], Compress: 5 }, 400, 'Boolean value expected in field: Compress'],
    [{ Resources: [ID], Transcode: 'nope' }, 400, 'Unknown transfer syntax UID: nope'],
  ] as const)
    assert.equal((await ask(url, 'POST', '/peers/two/store', body, status))['Details'], details);
  await ask(url, 'POST', '/peers/none/store', ID, 404);

  await ask(url, 'PUT', '/routes/all', { To: 'two' });
  await ask(url, 'PUT', '/routes/wrong', { To: 'nobody' }, 400);
  const routed = await upload(url, make({ sopUid: '1.2.10' }));
  await until('the rule sent it', async () =>
    (await ask<string[]>(other.url, 'GET', '/instances')).includes(routed.ID),
  );
  await ask(url, 'PUT', '/routes/all', { To: 'two', Modify: { Replace: { PatientID: 'MODIFIED' }, Force: true } });
  await upload(url, make({ sopUid: '1.2.11' }));
  await until('it came modified', async () => {
    const found = await ask<string[]>(other.url, 'POST', '/tools/lookup', 'MODIFIED');
    return found.length === 1;
  });
});

test('the reference server is a peer, in both directions', { skip: without('Orthanc') }, async (context) => {
  const judge = await startReference();
  context.after(() => judge.close());
  const { url } = await start(context, { OrthancPeers: { judge: [judge.url] } });
  const stored = await Promise.all(images(8).map((file) => upload(url, file)));
  const study = stored[0]?.ParentStudy ?? '';
  assert.equal((await ask(url, 'GET', '/peers/judge/system'))['Name'], 'judge');
  await ask(url, 'POST', '/peers/judge/store', study);
  await sameFiles(url, judge.url);
  await ask(judge.url, 'DELETE', `/studies/${study}`);
  await ask(url, 'POST', '/peers/judge/store', { Resources: [study], Compress: true });
  await sameFiles(url, judge.url);
  assert.equal((await ask(url, 'POST', '/peers/judge/store-straight', images(1)[0]))['Status'], 'AlreadyStored');

  await ask(judge.url, 'PUT', '/peers/isen', [url]);
  assert.equal((await ask(judge.url, 'GET', '/peers/isen/system'))['Version'], '1.13.0');
  for (const Compress of [false, true]) {
    await ask(url, 'DELETE', `/studies/${study}`);
    await ask(judge.url, 'POST', '/peers/isen/store', { Resources: [study], Compress });
    await sameFiles(judge.url, url);
  }
});

test('TLS: the authority is checked, and our certificate is shown', { skip: without('openssl') }, async (context) => {
  const folder = temporaryFolder();
  const { authority, server, client, stranger } = certificates(folder);
  const both = join(folder, 'both.pem');
  writeFileSync(both, readFileSync(server.certificate, 'utf8') + readFileSync(server.key, 'utf8'));
  const other = await start(context, {
    SslEnabled: true,
    SslCertificate: both,
    SslVerifyPeers: true,
    SslTrustedClientCertificates: authority,
  });
  const peer = (pair?: typeof client): Json => ({
    Url: other.url,
    MaximumRetries: 0,
    ...(pair && { CertificateFile: pair.certificate, CertificateKeyFile: pair.key, CertificateKeyPassword: '' }),
  });
  const OrthancPeers = { known: peer(client), stranger: peer(stranger), bare: peer() };
  const trusting = await start(context, { OrthancPeers, HttpsCACertificates: authority });
  const { ID } = await upload(trusting.url, make());
  assert.equal((await ask(trusting.url, 'GET', '/peers/known/system'))['Version'], '1.13.0');
  await ask(trusting.url, 'POST', '/peers/known/store', { Resources: [ID], Synchronous: true });
  for (const name of ['stranger', 'bare']) {
    await ask(trusting.url, 'GET', `/peers/${name}/system`, undefined, 500);
    await ask(trusting.url, 'POST', `/peers/${name}/store`, ID, 500);
  }
  // An authority that nobody knows is refused, unless that is wanted.
  const careful = await start(context, { OrthancPeers });
  assert.match(
    String((await ask(careful.url, 'GET', '/peers/known/system', undefined, 500))['Details']),
    /certificate/,
  );
  const careless = await start(context, { OrthancPeers, HttpsVerifyPeers: false });
  await ask(careless.url, 'GET', '/peers/known/system');
});

test('requests go through the proxy, with its password', async (context) => {
  const proxy = await startBadServer((response, { path, headers }) => {
    response.end(JSON.stringify({ path, host: headers.host, auth: headers['proxy-authorization'] }));
  });
  context.after(() => proxy.close());
  const { url } = await start(context, {
    OrthancPeers: { far: ['http://far.example/orthanc/'] },
    HttpProxy: `user:pass@127.0.0.1:${proxy.port}`,
  });
  assert.deepEqual(await ask(url, 'GET', '/peers/far/system'), {
    path: 'http://far.example/orthanc/system',
    host: 'far.example',
    auth: `Basic ${Buffer.from('user:pass').toString('base64')}`,
  });
});

/** A server with a rule that sends everything to `bad`, which answers so. */
async function withBad(
  context: TestContext,
  answer: Parameters<typeof startBadServer>[0],
  options: Json = {},
  more: Parameters<typeof startBadServer>[1] = {},
) {
  const bad = await startBadServer(answer, more);
  const server = await serve({
    OrthancPeers: { bad: { Url: bad.url, RetryDelay: 0.05, RetryDelayMultiplier: 1, ...options } },
    Routes: [{ Name: 'all', To: 'bad' }],
  });
  context.after(async () => {
    await server.close();
    await bad.close();
  });
  return { bad, server };
}

interface Queue {
  readonly Waiting: number;
  readonly Active: number;
  readonly Retrying: number;
  readonly Failed: number;
  readonly LastError: string;
  readonly Entries: readonly { readonly Reason: string }[];
}

const queueOf = (url: string): Promise<Queue> => ask(url, 'GET', '/peers/bad/queue');

test('a peer that fails gets everything in the end; several requests are under way over connections that stay', async (context) => {
  const { bad, server } = await withBad(context, async (response, { body }, count) => {
    await sleep(5);
    // In turn: busy, broken, closing in the middle of the answer, closing at once; every other time it is well.
    if (count % 8 === 1) response.writeHead(503).end();
    else if (count % 8 === 3) response.writeHead(500).end();
    else if (count % 8 === 5) response.writeHead(200, { 'Content-Length': 100 }).write('{', () => response.destroy());
    else if (count % 8 === 7) response.destroy();
    else {
      got.push(body);
      response.end('{}');
    }
  });
  const got: Buffer[] = [];
  const files = images(40);
  for (const file of files) await upload(server.url, file);
  await until('all came', () => files.every((file) => got.some((body) => body.equals(file))));
  await until('the queue is empty', async () => {
    const { Waiting, Active, Retrying, Failed } = await queueOf(server.url);
    return Waiting + Active + Retrying + Failed === 0;
  });
  assert.ok(bad.most > 1 && bad.most <= 4, `${bad.most} at a time`);
});

test('connections are kept alive', async (context) => {
  const { bad, server } = await withBad(context, (response) => void response.end('{}'), { MaximumAssociations: 1 });
  for (const file of images(20)) await upload(server.url, file);
  await until('all came', () => bad.asked.length === 20);
  assert.equal(bad.connections, 1);
});

test('a silent peer, and one that does not take the body, are given up in time', async (context) => {
  const silent = await withBad(context, () => {}, { Timeout: 1 });
  const { ID } = await upload(silent.server.url, make());
  const began = performance.now();
  const { Details } = await ask(silent.server.url, 'POST', '/peers/bad/store', ID, 500);
  assert.match(String(Details), /no answer in time/);
  await ask(silent.server.url, 'GET', '/peers/bad/system', undefined, 500);
  assert.ok(performance.now() - began < 5000);
  await until('the queue says why', async () => /no answer in time/.test((await queueOf(silent.server.url)).LastError));

  const deaf = await withBad(context, () => {}, { Timeout: 1 }, { early: (request) => !!request.pause() });
  const large = await upload(
    deaf.server.url,
    make({ rows: 4096, columns: 4096, pixels: Buffer.alloc(2 * 4096 * 4096) }),
  );
  assert.match(
    String((await ask(deaf.server.url, 'POST', '/peers/bad/store', large.ID, 500))['Details']),
    /no answer in time/,
  );
});

test('a slow peer is waited for as long as it goes on', async (context) => {
  const { server, bad } = await withBad(
    context,
    async (response) => {
      await sleep(600);
      response.end('{}');
    },
    { Timeout: 1 },
  );
  const { ID } = await upload(server.url, make());
  await ask(server.url, 'POST', '/peers/bad/store', ID);
  assert.ok(bad.asked.length >= 1);
});

test('what a peer will never take waits for people, with the reason; compressed bodies are what they say', async (context) => {
  const { server, bad } = await withBad(context, (response) => void response.writeHead(400).end());
  const { ID } = await upload(server.url, make());
  await until('it failed', async () => (await queueOf(server.url)).Failed === 1);
  assert.equal((await queueOf(server.url)).Entries[0]?.Reason, 'the peer answered with HTTP status 400');
  assert.equal(bad.asked.length, 1);
  await ask(server.url, 'POST', '/peers/bad/store', { Resources: [ID], Compress: true }, 500);
  const [, compressed] = bad.asked;
  assert.equal(compressed?.headers['content-encoding'], 'gzip');
  assert.ok(gunzipSync(compressed?.body ?? '').equals(make()));
  assert.deepEqual(await ask(server.url, 'DELETE', '/peers/bad/queue'), { Count: 2 });
});

test('a redirection is not followed', async (context) => {
  const hidden = await startBadServer((response) => void response.end('{}'));
  context.after(() => hidden.close());
  const { server } = await withBad(context, (response) => void response.writeHead(302, { Location: hidden.url }).end());
  await ask(server.url, 'GET', '/peers/bad/system', undefined, 500);
  assert.equal(hidden.asked.length, 0);
});

test('a dead peer gets all that waited once it is there', async (context) => {
  const port = await freePort();
  const { url } = await start(context, {
    OrthancPeers: { late: { Url: `http://127.0.0.1:${port}/`, RetryDelay: 0.1, RetryDelayMultiplier: 1 } },
    Routes: [{ Name: 'all', To: 'late' }],
  });
  for (const file of images(10)) await upload(url, file);
  await until('it is noticed', async () =>
    /ECONNREFUSED/.test((await ask<Queue>(url, 'GET', '/peers/late/queue')).LastError),
  );
  const late = await startBadServer((response) => void response.end('{}'), { port });
  context.after(() => late.close());
  await until('all came', () => late.asked.length >= 10);
});
