/** Existing clients of the REST API, unchanged: Python packages drive a server, and one that invents requests from the OpenAPI document. */

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { make, type Made } from '../dicom/made.ts';
import { freePort, ROOT, temporaryFolder, without } from '../peer.ts';
import { type Served, serve } from '../http/served.ts';

const SCRIPTS = join(ROOT, 'test', 'clients');

/** Where test:setup installs them: one folder for each list of versions. */
function environment(): string {
  const digest = createHash('sha256')
    .update(readFileSync(join(SCRIPTS, 'requirements.txt')))
    .digest('hex');
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  return join(cache, `isen-clients-${digest.slice(0, 16)}`);
}

function withoutClients(): string | false {
  if (existsSync(join(environment(), 'complete'))) return false;
  const reason = 'the Python clients are not installed (npm run test:setup installs them)';
  if (process.env['CI'] === 'true') throw new Error(reason);
  return reason;
}

const skip = withoutClients() || without('storescp');
const folder = temporaryFolder();
let pacs: ReturnType<typeof spawn>;
let pacsPort = 0;

before(async () => {
  if (skip !== false) return;
  mkdirSync(join(folder, 'study'));
  for (const series of [1, 2]) {
    for (const number of [1, 2]) {
      writeFileSync(join(folder, 'study', `${series}-${number}.dcm`), instance('P1', '2.25.100', series, number));
    }
  }
  writeFileSync(join(folder, 'one.dcm'), instance('P2', '2.25.200', 1, 1));
  writeFileSync(join(folder, 'report.pdf'), '%PDF-1.4\n%%EOF');
  pacsPort = await freePort();
  pacs = spawn('storescp', ['--ignore', String(pacsPort)], { stdio: 'ignore' });
});
after(async () => {
  if (skip !== false) return;
  const ended = once(pacs, 'exit');
  pacs.kill();
  await ended;
});

function instance(patientId: string, studyUid: string, series: number, number: number): Buffer {
  const more: Made = { seriesUid: `${studyUid}.${series}`, sopUid: `${studyUid}.${series}.${number}` };
  return make({ patientId, studyUid, ...more });
}

async function served(): Promise<Served> {
  const server = await serve({
    DicomServerEnabled: true,
    DicomPort: 0,
    DicomAlwaysAllowFind: true,
    DicomAlwaysAllowGet: true,
    DicomAlwaysAllowMove: true,
    CheckRevisions: true,
    StableAge: 600,
    UserMetadata: { sample: 1024 },
    UserContentType: { report: [1025, 'application/pdf'] },
    DicomScuTimeout: 5,
  });
  const put = async (path: string, body: unknown): Promise<void> => {
    const answer = await fetch(server.url + path, { method: 'PUT', body: JSON.stringify(body) });
    assert.equal(answer.status, 200, path);
  };
  await put('/modalities/self', ['ISEN', '127.0.0.1', server.dicomPort]);
  await put('/modalities/pacs', ['STORESCP', '127.0.0.1', pacsPort]);
  await put('/modalities/offline', ['NOWHERE', '127.0.0.1', await freePort()]);
  await put('/peers/self', [`${server.url}/`]);
  return server;
}

/** Runs a program of the environment to its end; what it prints is the message of a failure. */
async function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  try {
    const options = { cwd: folder, env: { ...process.env, ...env }, timeout: 150_000, maxBuffer: 64 << 20 };
    return (await promisify(execFile)(join(environment(), 'bin', program), args, options)).stdout;
  } catch (thrown) {
    const { stdout = '', stderr = '' } = thrown as { readonly stdout?: string; readonly stderr?: string };
    return assert.fail(`${stdout.slice(-6000)}\n${stderr.slice(-6000)}`);
  }
}

for (const client of ['orthanc_api_client', 'pyorthanc']) {
  test(`${client}: upload, find, modify, metadata, modalities, jobs`, { skip, timeout: 180_000 }, async () => {
    const server = await served();
    try {
      await run('python', [join(SCRIPTS, `drive_${client}.py`), server.url, folder]);
    } finally {
      await server.close();
    }
  });
}

/** Path parameters that name what exists, so that requests reach more than the check of ids. */
async function documentWithIds(server: Served): Promise<string> {
  const get = async (path: string): Promise<unknown> => (await fetch(server.url + path)).json();
  for (const name of ['one.dcm', 'study/1-1.dcm', 'study/2-1.dcm']) {
    const body = new Uint8Array(readFileSync(join(folder, name)));
    assert.equal((await fetch(`${server.url}/instances`, { method: 'POST', body })).status, 200);
  }
  const document = (await get('/openapi.json')) as {
    paths: Record<string, Record<string, { parameters?: { name: string; in: string; schema: unknown }[] }>>;
  };
  // They end the server.
  for (const path of ['/tools/shutdown', '/tools/reset']) delete document.paths[path];
  const known: Record<string, unknown> = { modalities: ['pacs', 'offline'], peers: ['self'], plugins: ['nope'] };
  for (const level of ['patients', 'studies', 'series', 'instances']) known[level] = await get(`/${level}`);
  for (const [path, methods] of Object.entries(document.paths)) {
    const family = path.split('/')[1] ?? '';
    const values: Record<string, unknown> = {
      id: known[family],
      frame: ['0', '1', '-1'],
      path: ['PatientName', '0010-0010', 'ReferencedImageSequence', 'nope'],
      name: path.includes('/attachments') ? ['dicom', 'report', '1025', 'nope'] : ['sample', 'LastUpdate', '1024'],
    };
    for (const { parameters = [] } of Object.values(methods)) {
      for (const parameter of parameters) {
        const choices = parameter.in === 'path' ? values[parameter.name] : undefined;
        if (choices !== undefined) parameter.schema = { type: 'string', enum: choices };
      }
    }
  }
  return JSON.stringify(document);
}

test('requests made up from the OpenAPI document meet no fault of the server', {
  skip,
  timeout: 180_000,
}, async (context) => {
  const server = await served();
  try {
    writeFileSync(join(folder, 'openapi.json'), await documentWithIds(server));
    // It has no bodies of application/dicom.
    const options =
      '--phases fuzzing --checks no_fault_of_the_server,status_code_conformance --exclude-method DELETE --exclude-path-regex /store-straight$ ' +
      '--continue-on-failure --request-timeout 20 --no-shrink --warnings off --suppress-health-check all';
    const examples = process.env['ISEN_REQUESTS'] ?? '1';
    const output = await run(
      'schemathesis',
      ['run', 'openapi.json', '--url', server.url, '--max-examples', examples, ...options.split(' ')],
      { SCHEMATHESIS_HOOKS: 'known_errors', PYTHONPATH: SCRIPTS },
    );
    context.diagnostic(/[\d ,]+ generated.*/.exec(output)?.[0] ?? '');
    assert.equal((await fetch(`${server.url}/system`)).status, 200);
  } finally {
    await server.close();
  }
});
