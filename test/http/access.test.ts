/** Who is let in: users, peers, TLS, read-only; and how the socket behaves towards odd clients. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls, type SecureVersion } from 'node:tls';
import { basicCredentials, isLoopback } from '../../src/http/access.ts';
import { hashPassword } from '../../src/password.ts';
import { make } from '../dicom/made.ts';
import { temporaryFolder, without } from '../peer.ts';
import { raw, serve } from './served.ts';

const basic = (text: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(text).toString('base64')}`,
});

/** What a socket answers to bytes, until it is silent or closed. */
async function converse(port: number, text: string, silence = 300): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1');
  });
  socket.on('error', () => {});
  const begun = new Promise((resolve) => {
    for (const event of ['data', 'close']) socket.once(event, resolve);
  });
  socket.write(text);
  await Promise.race([begun, sleep(10_000, undefined, { ref: false })]);
  await sleep(silence);
  socket.destroy();
  return answer;
}

test('an address below the interface, which strangers may see, leads them nowhere else', async () => {
  const server = await serve({ AuthenticationEnabled: true, RegisteredUsers: { bob: 'secret' } });
  try {
    const stored = await raw(server.port, '/instances', { method: 'POST', headers: basic('bob:secret') }, make());
    const { ID, ParentPatient } = JSON.parse(stored.body.toString()) as { ID: string; ParentPatient: string };
    for (const way of [
      '/ui/app/../..',
      '/ui/app/assets/../../..',
      '/ui/app/%2e%2e/..',
      '//ui/app/../..',
      '/ui/session/../..',
    ]) {
      for (const [method, path] of [
        ['GET', '/patients'],
        ['GET', `/instances/${ID}/tags`],
        ['POST', '/tools/find'],
        ['PUT', '/modalities/x'],
        ['DELETE', `/patients/${ParentPatient}`],
      ] as const) {
        const { status, headers } = await raw(server.port, way + path, { method }, method === 'GET' ? undefined : '{}');
        assert.ok(
          status !== 200 || headers['content-type'] === 'text/html; charset=utf-8',
          `${method} ${way}${path}: ${status}`,
        );
      }
    }
    assert.equal((await raw(server.port, `/instances/${ID}`, { headers: basic('bob:secret') })).status, 200);
  } finally {
    await server.close();
  }
});

test('users who only read may look for things in every way, and change nothing', async () => {
  const server = await serve({
    AuthenticationEnabled: true,
    RegisteredUsers: { anna: 'secret', rita: 'secret' },
    ReadOnlyUsers: ['rita'],
  });
  try {
    const status = async (user: string, method: string, path: string, body?: string | Buffer): Promise<number> =>
      (await raw(server.port, path, { method, headers: basic(`${user}:secret`) }, body)).status;
    assert.equal(await status('anna', 'POST', '/instances', make()), 200);
    for (const [method, path, body] of [
      ['GET', '/studies', undefined],
      ['POST', '/tools/find', '{"Level": "Study", "Query": {}}'],
      ['POST', '/tools/count-resources', '{"Level": "Study", "Query": {}}'],
      ['POST', '/tools/bulk-content', '{"Resources": []}'],
      ['POST', '/tools/lookup', '1.2.3'],
    ] as const) {
      assert.equal(await status('rita', method, path, body), 200, `${method} ${path}`);
    }
    for (const [method, path, body] of [
      ['POST', '/instances', 'nothing'],
      ['POST', '/tools/bulk-delete', '{"Resources": []}'],
      ['PUT', '/modalities/m', '["M", "127.0.0.1", 104]'],
      ['PUT', '/routes/r', '{"To": "m"}'],
      ['DELETE', '/changes', undefined],
      ['PUT', '/tools/log-level', 'verbose'],
      ['POST', '/tools/reset', ''],
    ] as const) {
      assert.equal(await status('rita', method, path, body), 403, `${method} ${path}`);
    }
  } finally {
    await server.close();
  }
});

test('only registered users are let in, with plain or stored-hash passwords', async () => {
  const server = await serve({
    AuthenticationEnabled: true,
    RegisteredUsers: { alice: 'sécret:with colon', bob: await hashPassword('hashed') },
  });
  try {
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await raw(server.port, '/system', { headers })).status;
    const none = await raw(server.port, '/system');
    assert.equal(none.status, 401);
    assert.match(none.headers['www-authenticate'] ?? '', /^Basic realm=/);
    assert.equal(await status(basic('alice:sécret:with colon')), 200);
    assert.equal(await status(basic('bob:hashed')), 200);
    assert.equal(await status(basic('bob:wrong')), 401);
    assert.equal(await status(basic('alice:')), 401);
    assert.equal(await status(basic('nobody:hashed')), 401);
    assert.equal(await status({ authorization: 'Bearer abc' }), 401);
    assert.equal(await status({ authorization: 'Basic !!!' }), 401);
    const refused = await raw(server.port, '/instances', { method: 'POST' }, make());
    assert.equal(refused.status, 401);
    const stored = await raw(server.port, '/instances', { method: 'POST', headers: basic('bob:hashed') }, make());
    assert.equal(stored.status, 200);
    const { ID } = JSON.parse(stored.body.toString()) as { ID: string };
    const user = await raw(server.port, `/instances/${ID}/metadata/HttpUsername`, { headers: basic('bob:hashed') });
    assert.equal(user.body.toString(), 'bob');
    const ask = async <T>(method: string, path: string, body?: string): Promise<T> => {
      const answer = await raw(server.port, path, { method, headers: basic('bob:hashed') }, body);
      assert.equal(answer.status, 200, path);
      return JSON.parse(answer.body.toString()) as T;
    };
    // What a request has made has come from the one who asked.
    const { ParentStudy } = JSON.parse(stored.body.toString()) as { ParentStudy: string };
    const modified = await ask<{ Path: string }>('POST', `/studies/${ParentStudy}/modify`, '{}');
    const [instance] = await ask<{ ID: string }[]>('GET', `${modified.Path}/instances`);
    const created = await ask<{ ID: string }>('POST', '/tools/create-dicom', '{"Tags":{}}');
    for (const id of [instance?.ID, created.ID]) {
      const metadata = await ask<Record<string, string>>('GET', `/instances/${id}/metadata?expand`);
      assert.deepEqual(
        [metadata['Origin'], metadata['HttpUsername'], metadata['RemoteIP'], metadata['RemoteAET']],
        ['RestApi', 'bob', '127.0.0.1', ''],
      );
    }
  } finally {
    await server.close();
  }
});

test('peers of other machines are refused unless allowed', async (context) => {
  assert.ok(isLoopback('127.0.0.1') && isLoopback('127.8.9.1') && isLoopback('::1') && isLoopback('::ffff:127.0.0.1'));
  assert.ok(
    !isLoopback('10.0.0.1') && !isLoopback('::ffff:10.0.0.1') && !isLoopback('fe80::1') && !isLoopback(undefined),
  );
  const address = Object.values(networkInterfaces())
    .flat()
    .find((each) => each?.family === 'IPv4' && !each.internal)?.address;
  if (address === undefined) {
    context.diagnostic('this machine has no other address');
    return;
  }
  const server = await serve();
  try {
    const { status } = await raw(server.port, '/system', { host: address });
    assert.equal(status, 403);
    assert.equal((await raw(server.port, '/instances', { host: address, method: 'POST' }, make())).status, 403);
  } finally {
    await server.close();
  }
});

test('credentials are read as RFC 7617 writes them', () => {
  assert.deepEqual(basicCredentials('Basic YTpiOmM='), { user: 'a', password: 'b:c' });
  assert.deepEqual(basicCredentials('basic  YTo='), { user: 'a', password: '' });
  for (const wrong of [undefined, '', 'Basic', 'Basic YWJj', 'Digest YTpi', 'Basic a b']) {
    assert.equal(basicCredentials(wrong), undefined, wrong);
  }
});

/** A key and its certificate, alone and in one file. */
function certificates(): Record<'folder' | 'key' | 'certificate' | 'both', string> {
  const folder = temporaryFolder();
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
  const made = spawnSync('openssl', [
    ...'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost'.split(' '),
    ...`-addext subjectAltName=IP:127.0.0.1 -keyout ${key} -out ${certificate}`.split(' '),
  ]);
  assert.equal(made.status, 0, made.stderr.toString());
  const both = join(folder, 'both.pem');
  writeFileSync(both, readFileSync(certificate, 'utf8') + readFileSync(key, 'utf8'));
  return { folder, key, certificate, both };
}

test('HTTPS with certificate and key in one file', { skip: without('openssl') }, async () => {
  const { folder, key, certificate, both } = certificates();
  const server = await serve({ SslEnabled: true, SslCertificate: both });
  try {
    const status = await new Promise((resolve, reject) => {
      httpsRequest(`${server.url}/system`, { ca: readFileSync(certificate), agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });
    assert.equal(status, 200);
  } finally {
    await server.close();
  }
  await assert.rejects(serve({ SslEnabled: true, SslCertificate: join(folder, 'none.pem') }), /SslCertificate/);
  await assert.rejects(serve({ SslEnabled: true, SslCertificate: key }), /SslCertificate|PEM/);
});

test('HTTPS is of the versions and ciphers of the configuration', { skip: without('openssl') }, async () => {
  const { both } = certificates();
  const tls = { SslEnabled: true, SslCertificate: both };
  /** The cipher that a client which speaks `version` alone gets, or undefined where it is turned away. */
  const cipherOf = async (port: number, version: SecureVersion): Promise<string | undefined> => {
    const client = connectTls({
      port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      minVersion: version,
      maxVersion: version,
      ciphers: 'ALL@SECLEVEL=0',
    });
    try {
      await once(client, 'secureConnect', { signal: AbortSignal.timeout(10_000) });
      return client.getCipher().name;
    } catch {
      return undefined;
    } finally {
      client.destroy();
    }
  };
  const accepted = async (options: object): Promise<boolean[]> => {
    const server = await serve({ ...tls, ...options });
    try {
      const versions = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const;
      return await Promise.all(versions.map(async (version) => (await cipherOf(server.port, version)) !== undefined));
    } finally {
      await server.close();
    }
  };
  assert.deepEqual(await accepted({}), [false, false, true, true]);
  assert.deepEqual(await accepted({ SslMinimumProtocolVersion: 0 }), [true, true, true, true]);
  assert.deepEqual(await accepted({ SslMinimumProtocolVersion: 3 }), [false, true, true, true]);
  assert.deepEqual(await accepted({ SslMinimumProtocolVersion: 5 }), [false, false, false, true]);

  const cipher = 'ECDHE-ECDSA-AES128-GCM-SHA256';
  const server = await serve({ ...tls, SslCiphersAccepted: [cipher] });
  try {
    assert.equal(await cipherOf(server.port, 'TLSv1.2'), cipher);
  } finally {
    await server.close();
  }
  await assert.rejects(serve({ ...tls, SslCiphersAccepted: ['NO-SUCH-CIPHER'] }), /SslCiphersAccepted/);
});

test('without the interface nothing leads to it, and the REST API stays', async () => {
  const statuses = async (options: Readonly<Record<string, unknown>>): Promise<number[]> => {
    const server = await serve(options);
    try {
      const paths = ['/', '/app/explorer.html', '/ui', '/ui/app', '/system'];
      return await Promise.all(paths.map(async (path) => (await raw(server.port, path)).status));
    } finally {
      await server.close();
    }
  };
  assert.deepEqual(await statuses({}), [302, 302, 302, 302, 200]);
  assert.deepEqual(await statuses({ OrthancExplorerEnabled: false }), [404, 404, 404, 404, 200]);
});

test('a read-only server changes nothing', async () => {
  const server = await serve({ ReadOnly: true });
  try {
    const id = '66a662ce-7430e543-bad44d47-0dc5a943-ec7a538d';
    for (const [method, path] of [
      ['POST', '/instances'],
      ['DELETE', `/studies/${id}`],
      ['PUT', `/studies/${id}/labels/x`],
      ['DELETE', '/changes'],
    ] as const) {
      const { status } = await raw(server.port, path, { method }, method === 'POST' ? make() : undefined);
      assert.equal(status, 403, `${method} ${path}`);
    }
    assert.equal((await raw(server.port, '/instances')).status, 200);
  } finally {
    await server.close();
  }
});

test('errors are described only where the configuration says so', async () => {
  const server = await serve({ HttpDescribeErrors: false });
  try {
    const answer = await raw(server.port, '/instances?limit=1');
    assert.equal(answer.status, 400);
    assert.equal(answer.body.length, 0);
  } finally {
    await server.close();
  }
});

test('JSON is compressed for those who accept it, where the configuration says so', async () => {
  const server = await serve({ HttpCompressionEnabled: true });
  try {
    const answer = await raw(server.port, '/openapi.json', { headers: { 'accept-encoding': 'gzip' } });
    assert.equal(answer.headers['content-encoding'], 'gzip');
    assert.equal((await raw(server.port, '/openapi.json')).headers['content-encoding'], undefined);
  } finally {
    await server.close();
  }
});

test('Expect, broken requests and silence', async () => {
  const server = await serve({ HttpRequestTimeout: 1 });
  try {
    const file = make();
    const head = `POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: ${file.length}\r\n`;
    const send = async (expect: string): Promise<string> => converse(server.port, `${head}${expect}\r\n`, 200);
    assert.match(await send('Expect: 100-continue\r\n'), /^HTTP\/1\.1 100 Continue/);
    const empty = await converse(server.port, `GET /system HTTP/1.1\r\nHost: x\r\nExpect:\r\n\r\n`);
    assert.match(empty, /^HTTP\/1\.1 200/);
    const odd = await converse(server.port, `GET /system HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n`);
    assert.match(odd, /^HTTP\/1\.1 417/);
    assert.match(await converse(server.port, 'NOT HTTP\r\n\r\n'), /^HTTP\/1\.1 400/);
    assert.match(await converse(server.port, 'GET /system HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 200[^]*"ApiVersion"/);
    assert.match(await converse(server.port, 'GET /system HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 400/);
    for (const target of ['http://127.0.0.1/system', 'HTTPS://a.example:8042//system/?x=1', 'http://host/tools/now']) {
      const answer = await converse(server.port, `GET ${target} HTTP/1.1\r\nHost: host\r\n\r\n`, 200);
      assert.match(answer, /^HTTP\/1\.1 200/, target);
    }
    const absolute = `POST http://host/instances HTTP/1.1\r\nHost: host\r\nContent-Length: 4\r\n\r\njunk`;
    assert.match(await converse(server.port, absolute, 200), /"Uri" : "\/instances"/);
    const long = `GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(40_000)}\r\n\r\n`;
    assert.match(await converse(server.port, long), /^HTTP\/1\.1 431/);

    const socket = connect(server.port, '127.0.0.1');
    socket.write(head);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    socket.resume();
    const winner = await Promise.race([closed.then(() => 'closed'), sleep(8000).then(() => 'open')]);
    assert.equal(winner, 'closed');
  } finally {
    await server.close();
  }
});

test('two requests on one connection, the first refused with a body behind it', async () => {
  const server = await serve({ ReadOnly: true });
  try {
    const body = 'GET /system HTTP/1.1\r\nHost: x\r\n\r\n';
    const answer = await converse(
      server.port,
      `POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    assert.equal(answer.match(/HTTP\/1\.1 \d+/g)?.length, 1, 'a body is never taken for a request');
  } finally {
    await server.close();
  }
});
