/** Owns the DICOM door as real peers meet it: who may, what is taken, TLS, and that what is stored is what was sent. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readFile } from '../../src/dicom/read.ts';
import { requestAssociation } from '../../src/scu/requestor.ts';
import { make } from '../dicom/made.ts';
import { type Served, serve } from '../http/served.ts';
import { freePort, shared, temporaryFolder, without, withoutShared } from '../peer.ts';
import { BadPeer, CT_IMAGE_STORAGE, fragment, storeRequest } from './bad-peer.ts';
import { certificates } from './certificates.ts';
import { run, startProgram, stopPrograms } from './programs.ts';

after(stopPrograms);

const DICOM = { DicomServerEnabled: true, DicomPort: 0 } as const;

async function withServer(
  options: Readonly<Record<string, unknown>>,
  use: (server: Served) => Promise<void>,
): Promise<void> {
  const server = await serve({ ...DICOM, ...options });
  try {
    await use(server);
  } finally {
    await server.close();
  }
}

const instances = async (server: Served): Promise<string[]> =>
  (await (await fetch(`${server.url}/instances`)).json()) as string[];
const file = async (server: Served, id: string): Promise<Buffer> =>
  Buffer.from(await (await fetch(`${server.url}/instances/${id}/file`)).arrayBuffer());
const metadata = async (server: Served, id: string): Promise<Record<string, string>> =>
  (await (await fetch(`${server.url}/instances/${id}/metadata?expand`)).json()) as Record<string, string>;

/** The data set of a DICOM file, as it is. */
function dataSetOf(bytes: Buffer): Buffer {
  const { dataSet } = readFile(bytes, { untilPixelData: true });
  const [first] = dataSet.elements.values();
  return bytes.subarray(first?.start ?? 0);
}

let count = 0;
const newUid = (): string => `2.25.78.${(count += 1)}`;

test('echoscu is answered; by DicomCheckCalledAet only when it calls the right title', {
  skip: without('echoscu'),
}, async () => {
  await withServer({ DicomCheckCalledAet: true, DicomAet: 'RIGHT' }, async ({ dicomPort }) => {
    assert.equal((await run('echoscu', ['-aec', 'RIGHT', '127.0.0.1', String(dicomPort)])).status, 0);
    assert.equal((await run('echoscu', ['-aec', 'right', '127.0.0.1', String(dicomPort)])).status, 0);
    const wrong = await run('echoscu', ['-aec', 'WRONG', '127.0.0.1', String(dicomPort)]);
    assert.notEqual(wrong.status, 0);
    assert.match(wrong.output, /Called AE Title Not Recognized/i);
  });
  await withServer(
    { DicomCheckCalledAet: true, DicomAet: 'RIGHT', StrictAetComparison: true },
    async ({ dicomPort }) => {
      assert.notEqual((await run('echoscu', ['-aec', 'right', '127.0.0.1', String(dicomPort)])).status, 0);
    },
  );
});

test('who may: the options for everybody, the modalities, and their address', {
  skip: without('echoscu'),
}, async () => {
  const nobody = {
    DicomAlwaysAllowEcho: false,
    DicomAlwaysAllowStore: false,
    DicomCheckModalityHost: true,
    DicomModalities: {
      here: { AET: 'HERE', Host: '127.0.0.1', Port: 104 },
      named: { AET: 'NAMED', Host: 'localhost', Port: 104 },
      mute: { AET: 'MUTE', Host: '127.0.0.1', Port: 104, AllowEcho: false },
      elsewhere: ['ELSEWHERE', '192.0.2.1', 104],
    },
  };
  await withServer(nobody, async ({ dicomPort }) => {
    const echo = (title: string) => run('echoscu', ['-v', '-aet', title, '127.0.0.1', String(dicomPort)]);
    assert.equal((await echo('HERE')).status, 0);
    assert.equal((await echo('here')).status, 0);
    assert.equal((await echo('NAMED')).status, 0);
    assert.match((await echo('MUTE')).output, /No Acceptable Presentation Contexts/i);
    assert.match((await echo('ELSEWHERE')).output, /Calling AE Title Not Recognized/i);
    assert.match((await echo('STRANGER')).output, /Calling AE Title Not Recognized/i);
  });
});

/** Samples that storescu sends as they are, with the option that has it propose their transfer syntax. */
const SAMPLES: readonly (readonly [path: string, option: string])[] = [
  ['SignedCT.dcm', '-xe'],
  ['Brainix/Epi/IM-0001-0001.dcm', '-xe'],
  ['Issue16.dcm', '-xy'],
  ['Brainix/Flair/IM-0001-0001.dcm', '-xi'],
  ['2020-09-12-ELSCINT1-PMSCT_RLE1.dcm', '-xr'],
  ['DummyCT.dcm', '-xs'],
  ['DicomSeg.dcm', '-xe'],
];

test('what storescu sends is stored byte for byte, as its own server stores it', {
  skip: withoutShared || without('storescu') || without('storescp'),
  timeout: 60_000,
}, async () => {
  await withServer({ DicomAet: 'ARCHIVE' }, async (server) => {
    const folder = temporaryFolder();
    const port = await freePort();
    await startProgram('storescp', ['--bit-preserving', '+xa', '-od', folder, String(port)], port);
    for (const [path, option] of SAMPLES) {
      const sample = shared(`samples/${path}`) ?? '';
      const to = async (target: number) =>
        run('storescu', ['-R', option, '-aec', 'ARCHIVE', '-aet', 'MODALITY', '127.0.0.1', String(target), sample]);
      const known = new Set(await instances(server));
      const before = new Set(readdirSync(folder));
      const sent = await to(server.dicomPort);
      assert.equal(sent.status, 0, `${path}: ${sent.output}`);
      const theirs = await to(port);
      assert.equal(theirs.status, 0, `${path}: ${theirs.output}`);
      const [id] = (await instances(server)).filter((each) => !known.has(each));
      const [name] = readdirSync(folder).filter((each) => !before.has(each));
      assert.ok(id !== undefined && name !== undefined, path);
      const ours = await file(server, id);
      const reference = readFileSync(join(folder, name));
      assert.ok(dataSetOf(ours).equals(dataSetOf(reference)), path);
      const seen = await metadata(server, id);
      assert.equal(seen['Origin'], 'DicomProtocol');
      assert.equal(seen['RemoteAET'], 'MODALITY');
      assert.equal(seen['CalledAET'], 'ARCHIVE');
      assert.equal(seen['RemoteIP'], '127.0.0.1');
      assert.equal(seen['TransferSyntax'], readFile(reference).transferSyntax);
      assert.match(seen['ReceptionDate'] ?? '', /^\d{8}T\d{6}$/);
      assert.match(seen['SopClassUid'] ?? '', /^1\.2\.840\.10008\.5\.1\.4\.1\.1\./);
    }
  });
});

test('an association of ours to the server sends any transfer syntax byte for byte', async () => {
  await withServer({}, async (server) => {
    const syntaxes = [
      '1.2.840.10008.1.2',
      '1.2.840.10008.1.2.1',
      '1.2.840.10008.1.2.2',
      '1.2.840.10008.1.2.1.99',
      '1.2.840.10008.1.2.4.90',
      '1.2.840.10008.1.2.5',
    ];
    const association = await requestAssociation({
      host: '127.0.0.1',
      port: server.dicomPort,
      callingAet: 'SENDER',
      calledAet: 'ISEN',
      contexts: syntaxes.map((uid) => ({ abstractSyntax: CT_IMAGE_STORAGE, transferSyntaxes: [uid] })),
      patience: 10_000,
      maximumPdu: 16384,
    });
    assert.deepEqual(
      association.contexts.map(({ transferSyntax }) => transferSyntax),
      syntaxes,
    );
    for (const context of association.contexts) {
      const sopUid = newUid();
      // More than several slabs and PDUs, in parts that are none.
      const whole = make({ sopUid, transferSyntax: context.transferSyntax, rows: 1100, columns: 1000 });
      const { transferSyntax } = readFile(whole);
      assert.equal(transferSyntax, context.transferSyntax);
      const dataSet = whole.subarray(132 + 12 + whole.readUInt32LE(140));
      await association.send(
        context,
        {
          CommandField: 1,
          MessageID: association.nextMessageId(),
          Priority: 0,
          AffectedSOPClassUID: CT_IMAGE_STORAGE,
          AffectedSOPInstanceUID: sopUid,
        },
        pieces(dataSet),
      );
      const response = await association.receive();
      assert.equal(response?.command.Status, 0, `${context.transferSyntax} ${response?.command.ErrorComment}`);
      const found = (await (
        await fetch(`${server.url}/tools/lookup`, { method: 'POST', body: sopUid })
      ).json()) as readonly { ID: string }[];
      const stored = await file(server, found[0]?.ID ?? '');
      assert.ok(stored.subarray(stored.length - dataSet.length).equals(dataSet), context.transferSyntax);
    }
    await association.release();
  });
});

test('large data sets that come at the same time, and go to storage as they come, do not mix', async () => {
  await withServer({}, async (server) => {
    const send = async (pixels: Buffer): Promise<void> => {
      const association = await requestAssociation({
        host: '127.0.0.1',
        port: server.dicomPort,
        callingAet: 'SENDER',
        calledAet: 'ISEN',
        contexts: [{ abstractSyntax: CT_IMAGE_STORAGE, transferSyntaxes: ['1.2.840.10008.1.2.1'] }],
        patience: 20_000,
        maximumPdu: 16384,
      });
      const [context] = association.contexts;
      assert.ok(context);
      const sopUid = newUid();
      const dataSet = dataSetOf(make({ sopUid, rows: 3000, columns: 3000, pixels }));
      const command = { CommandField: 1, MessageID: association.nextMessageId(), Priority: 0 };
      const named = { AffectedSOPClassUID: CT_IMAGE_STORAGE, AffectedSOPInstanceUID: sopUid };
      await association.send(context, { ...command, ...named }, pieces(dataSet));
      assert.equal((await association.receive())?.command.Status, 0);
      await association.release();
      const found = await fetch(`${server.url}/tools/lookup`, { method: 'POST', body: sopUid });
      const [resource] = (await found.json()) as readonly { ID: string }[];
      const stored = await file(server, resource?.ID ?? '');
      assert.ok(stored.subarray(stored.length - dataSet.length).equals(dataSet));
    };
    // Past the largest memory of an upload.
    await Promise.all([1, 2, 3, 4].map((fill) => send(Buffer.alloc(2 * 3000 * 3000, fill))));
  });
});

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 70_001) yield bytes.subarray(at, at + 70_001);
}

test('Orthanc sends to us', { skip: withoutShared || without('Orthanc'), timeout: 60_000 }, async () => {
  await withServer({}, async (server) => {
    const [httpPort, dicomPort] = [await freePort(), await freePort()];
    const folder = temporaryFolder();
    writeFileSync(
      join(folder, 'orthanc.json'),
      JSON.stringify({
        StorageDirectory: join(folder, 'storage'),
        HttpPort: httpPort,
        DicomPort: dicomPort,
        DicomAet: 'REFERENCE',
        AuthenticationEnabled: false,
        RemoteAccessAllowed: false,
        Plugins: [],
        DicomModalities: { isen: ['ISEN', '127.0.0.1', server.dicomPort] },
      }),
    );
    await startProgram('/usr/sbin/Orthanc', [join(folder, 'orthanc.json')], httpPort);
    const url = `http://127.0.0.1:${httpPort}`;
    const ids: string[] = [];
    for (const path of ['DummyCT.dcm', 'SignedCT.dcm', '2020-09-12-ELSCINT1-PMSCT_RLE1.dcm', 'DicomSeg.dcm']) {
      const sample = readFileSync(shared(`samples/${path}`) ?? '');
      const answer = await fetch(`${url}/instances`, { method: 'POST', body: new Uint8Array(sample) });
      ids.push(((await answer.json()) as { ID: string }).ID);
    }
    const echo = await fetch(`${url}/modalities/isen/echo`, { method: 'POST', body: '{}' });
    assert.equal(echo.status, 200);
    const sent = await fetch(`${url}/modalities/isen/store`, { method: 'POST', body: JSON.stringify(ids) });
    assert.equal(sent.status, 200, await sent.text());
    assert.deepEqual((await instances(server)).sort(), ids.sort());
    for (const id of ids) {
      const theirs = Buffer.from(await (await fetch(`${url}/instances/${id}/file`)).arrayBuffer());
      const seen = await metadata(server, id);
      assert.equal(seen['RemoteAET'], 'REFERENCE');
      assert.equal(seen['TransferSyntax'], readFile(theirs).transferSyntax);
      const pixels = (bytes: Buffer): Buffer => {
        const { dataSet } = readFile(bytes);
        const element = dataSet.elements.get('7fe0,0010');
        return bytes.subarray(element?.offset ?? 0, element?.end ?? 0);
      };
      assert.ok(pixels(await file(server, id)).equals(pixels(theirs)), id);
    }
  });
});

test('TLS: with a certificate of the trusted authority only', {
  skip: without('storescu') || without('openssl'),
  timeout: 60_000,
}, async () => {
  const pem = certificates(temporaryFolder());
  const options = {
    DicomTlsEnabled: true,
    DicomTlsCertificate: pem.server.certificate,
    DicomTlsPrivateKey: pem.server.key,
    DicomTlsTrustedCertificates: pem.authority,
  };
  const known = ['+tls', pem.client.key, pem.client.certificate, '+cf', pem.authority];
  const stranger = ['+tls', pem.stranger.key, pem.stranger.certificate, '+cf', pem.authority];
  const anonymous = ['+tla', '+cf', pem.authority];
  const folder = temporaryFolder();
  const sample = join(folder, 'made.dcm');
  writeFileSync(sample, make({ sopUid: newUid(), rows: 300, columns: 300 }));
  await withServer(options, async (server) => {
    const target = ['127.0.0.1', String(server.dicomPort)];
    const echo = await run('echoscu', [...known, ...target]);
    assert.equal(echo.status, 0, echo.output);
    const store = await run('storescu', [...known, ...target, sample]);
    assert.equal(store.status, 0, store.output);
    assert.equal((await instances(server)).length, 1);
    for (const args of [stranger, anonymous, []]) {
      assert.notEqual((await run('echoscu', ['-to', '3', '-ta', '3', ...args, ...target])).status, 0, args.join(' '));
    }
    const tls = {
      certificate: readFileSync(pem.client.certificate, 'utf8'),
      key: readFileSync(pem.client.key, 'utf8'),
      trusted: readFileSync(pem.authority, 'utf8'),
    };
    const request = {
      host: '127.0.0.1',
      port: server.dicomPort,
      callingAet: 'US',
      calledAet: 'ISEN',
      contexts: [{ abstractSyntax: '1.2.840.10008.1.1', transferSyntaxes: ['1.2.840.10008.1.2'] }],
      patience: 5000,
      maximumPdu: 16384,
    };
    const association = await requestAssociation({ ...request, tls });
    const [context] = association.contexts;
    assert.ok(context !== undefined);
    await association.send(context, {
      CommandField: 0x30,
      MessageID: 1,
      AffectedSOPClassUID: context.abstractSyntax,
    });
    assert.equal((await association.receive())?.command.Status, 0);
    await association.release();
    // An authority that did not sign the server's certificate.
    await assert.rejects(
      requestAssociation({ ...request, tls: { ...tls, trusted: readFileSync(pem.stranger.certificate, 'utf8') } }),
      /certificate/,
    );
  });
  await withServer({ ...options, DicomTlsRemoteCertificateRequired: false }, async ({ dicomPort }) => {
    const target = ['127.0.0.1', String(dicomPort)];
    assert.equal((await run('echoscu', [...anonymous, ...target])).status, 0);
    assert.equal((await run('echoscu', [...known, ...target])).status, 0);
    assert.notEqual((await run('echoscu', ['-to', '3', '-ta', '3', ...stranger, ...target])).status, 0);
  });
});

test('a sender with its defaults does not wait for acknowledgements', {
  skip: process.platform === 'linux' ? without('storescu') : 'TCP_QUICKACK is of Linux',
}, async () => {
  await withServer({}, async (server) => {
    const folder = temporaryFolder();
    const files = Array.from({ length: 200 }, (_, index) => {
      const path = join(folder, `${index}.dcm`);
      writeFileSync(path, make({ sopUid: `2.25.78.3.${index}` }));
      return path;
    });
    const began = Date.now();
    const sent = await run('storescu', ['127.0.0.1', String(server.dicomPort), ...files], { nagle: true });
    assert.equal(sent.status, 0, sent.output);
    assert.equal((await instances(server)).length, 200);
    // Delayed acknowledgements would cost 40 ms each.
    assert.ok(Date.now() - began < 7000, `${Date.now() - began} ms`);
  });
});

test('certificates that are missing or none are refused at the start, by the name of their option', async () => {
  await assert.rejects(
    serve({ ...DICOM, DicomTlsEnabled: true, DicomTlsCertificate: '/nowhere.pem' }),
    /DicomTlsCertificate/,
  );
  const none = join(temporaryFolder(), 'none.pem');
  writeFileSync(none, 'none');
  await assert.rejects(
    serve({
      ...DICOM,
      DicomTlsEnabled: true,
      DicomTlsCertificate: none,
      DicomTlsPrivateKey: none,
      DicomTlsTrustedCertificates: none,
    }),
    /DICOM TLS/,
  );
});

test('a port that is taken is refused by its name', async () => {
  await withServer({}, async ({ dicomPort }) => {
    await assert.rejects(serve({ ...DICOM, DicomPort: dicomPort }), /DicomPort/);
  });
});

test('statuses: another instance than was announced, garbage, no room; the association goes on', async () => {
  await withServer({}, async (server) => {
    const peer = await BadPeer.associate(server.dicomPort);
    const dataSet = make({ sopUid: '2.25.78.1000', part10: false });
    const status = async (uid: string, bytes: Buffer, sopClass = CT_IMAGE_STORAGE) => {
      peer.send(storeRequest(uid, 3, sopClass), fragment(3, false, true, bytes));
      return (await peer.response()).Status;
    };
    assert.equal(await status('2.25.78.1001', dataSet), 0xa900);
    assert.equal(await status('2.25.78.1000', dataSet, '1.2.840.10008.5.1.4.1.1.4'), 0xa900);
    assert.equal(await status('2.25.78.1000', Buffer.alloc(100, 0xff)), 0xc000);
    assert.equal(await status('2.25.78.1000', Buffer.alloc(0)), 0xc000);
    assert.deepEqual(await instances(server), []);
    assert.equal(await status('2.25.78.1000', dataSet), 0);
    // Sent again it is there already, which is a success.
    assert.equal(await status('2.25.78.1000', dataSet), 0);
    assert.equal((await instances(server)).length, 1);
    peer.destroy();
  });
  await withServer({ MinimumFreeDiskMB: 2 ** 30 }, async (server) => {
    const peer = await BadPeer.associate(server.dicomPort);
    for (let round = 0; round < 3; round++) {
      peer.send(
        storeRequest('2.25.78.1000'),
        fragment(3, false, false, Buffer.alloc(9000)),
        fragment(3, false, true, Buffer.alloc(9000)),
      );
      assert.equal((await peer.response()).Status, 0xa700);
    }
    const metrics = await (await fetch(`${server.url}/tools/metrics-prometheus`)).text();
    assert.match(metrics, /isen_dicom_out_of_resources_total 3/);
    assert.match(metrics, /isen_dicom_associations\{direction="incoming"\} 1/);
    peer.destroy();
  });
});

test('which classes and syntaxes are accepted is what the options say', async () => {
  const contexts = [
    { abstractSyntax: CT_IMAGE_STORAGE, transferSyntaxes: ['1.2.840.10008.1.2.4.50', '1.2.840.10008.1.2.1'] },
    { abstractSyntax: '1.2.840.10008.5.1.4.1.1.4', transferSyntaxes: ['1.2.840.10008.1.2.4.50'] },
    { abstractSyntax: '1.3.6.1.4.1.99999.1', transferSyntaxes: ['1.2.840.10008.1.2'] },
    { abstractSyntax: '1.2.840.10008.5.1.4.1.1.88.67', transferSyntaxes: ['1.2.840.10008.1.2', '1.2.3.4.5'] },
    { abstractSyntax: '1.2.840.10008.5.1.4.1.1.88.67', transferSyntaxes: ['1.2.3.4.5'] },
  ];
  const agreed = async (options: Readonly<Record<string, unknown>>): Promise<string[]> => {
    let found: string[] = [];
    await withServer(options, async ({ dicomPort }) => {
      const association = await requestAssociation({
        host: '127.0.0.1',
        port: dicomPort,
        callingAet: 'US',
        calledAet: 'ISEN',
        contexts,
        patience: 5000,
        maximumPdu: 16384,
      });
      found = association.contexts.map(({ id, transferSyntax }) => `${id} ${transferSyntax}`);
      await association.release();
    });
    return found;
  };
  const jpeg = '1.2.840.10008.1.2.4.50';
  assert.deepEqual(await agreed({}), [`1 ${jpeg}`, `3 ${jpeg}`, '7 1.2.840.10008.1.2']);
  assert.deepEqual(await agreed({ UnknownSopClassAccepted: true }), [
    `1 ${jpeg}`,
    `3 ${jpeg}`,
    '5 1.2.840.10008.1.2',
    '7 1.2.840.10008.1.2',
  ]);
  assert.deepEqual(await agreed({ AcceptedTransferSyntaxes: ['1.2.840.10008.1.2', '1.2.840.10008.1.2.?'] }), [
    '1 1.2.840.10008.1.2.1',
    '7 1.2.840.10008.1.2',
  ]);
  assert.deepEqual(await agreed({ AcceptedTransferSyntaxes: ['1.2.3.4.5'] }), ['7 1.2.3.4.5', '9 1.2.3.4.5']);
  assert.deepEqual(await agreed({ RejectedSopClasses: [CT_IMAGE_STORAGE] }), [`3 ${jpeg}`, '7 1.2.840.10008.1.2']);
  assert.deepEqual(await agreed({ AcceptedSopClasses: [CT_IMAGE_STORAGE] }), [`1 ${jpeg}`]);
  assert.deepEqual(await agreed({ ReadOnly: true }), []);
  assert.deepEqual(await agreed({ DicomAlwaysAllowStore: false }), []);
});

test('closing answers what was asked, takes nothing new, and ends the idle', async () => {
  const server = await serve(DICOM);
  const idle = await BadPeer.associate(server.dicomPort);
  const busy = await BadPeer.associate(server.dicomPort);
  const dataSet = make({ sopUid: '2.25.78.2000', part10: false, rows: 100, columns: 70 });
  busy.send(storeRequest('2.25.78.2000'), fragment(3, false, false, dataSet.subarray(0, 5000)));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const closed = server.close();
  assert.deepEqual(await idle.ending(), [7]);
  const late = await BadPeer.connect(server.dicomPort).catch(() => undefined);
  assert.equal(late, undefined);
  busy.send(fragment(3, false, true, dataSet.subarray(5000)));
  assert.equal((await busy.response()).Status, 0);
  assert.deepEqual(await busy.ending(), [7]);
  await closed;
});
