/** The configuration: every option of the table, its sources, its errors; and the documentation made from it. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { environmentName, loadConfig } from '../src/config.ts';
import { IsenError } from '../src/errors.ts';
import { OPTIONS, type Option } from '../src/options.ts';
import { ROOT, shared, temporaryFolder, withoutShared } from './peer.ts';

const folder = temporaryFolder();
const table: [string, Option][] = Object.entries(OPTIONS);

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** The `details` of what loading throws. */
function refusal(sources: Parameters<typeof loadConfig>[0]): string {
  try {
    loadConfig(sources);
  } catch (error) {
    assert.ok(error instanceof IsenError);
    return error.details ?? '';
  }
  return assert.fail('the configuration was accepted');
}

test('the defaults are the safe ones', () => {
  const { config, warnings } = loadConfig({ env: {} });
  assert.deepEqual(warnings, []);
  assert.equal(config.RemoteAccessAllowed, false);
  assert.equal(config.SyncStorageArea, true);
  assert.equal(config.HttpPort, 8042);
  assert.equal(config.OverwriteInstances, 'Never');
  assert.equal(config.StorageDirectory, join(process.cwd(), 'IsenStorage'));
  assert.equal(config.IndexDirectory, config.StorageDirectory);
});

test('remote access brings authentication, unless that is said to be off', () => {
  const users = '{"alice":"secret"}';
  const open = loadConfig({ env: { ISEN__REMOTE_ACCESS_ALLOWED: 'true', ISEN__REGISTERED_USERS: users } });
  assert.equal(open.config.AuthenticationEnabled, true);
  assert.deepEqual(open.config.RegisteredUsers, { alice: 'secret' });
  assert.deepEqual(open.warnings, []);
  const nobody = loadConfig({ env: { ISEN__REMOTE_ACCESS_ALLOWED: 'true' } });
  assert.match(nobody.warnings.join(), /without RegisteredUsers/);
  const off = loadConfig({ env: { ISEN__REMOTE_ACCESS_ALLOWED: 'true', ISEN__AUTHENTICATION_ENABLED: 'false' } });
  assert.equal(off.config.AuthenticationEnabled, false);
  assert.match(off.warnings.join(), /RemoteAccessAllowed without AuthenticationEnabled/);
});

test('a file may have comments and trailing commas, and the environment wins over it', () => {
  const path = file(
    'commented.json',
    `\uFEFF// \${NOT_ASKED_FOR}
    { /* ports */ "HttpPort": \${PORT:-8050}, "Name": "\${WHO}", "StorageDirectory": "data", "DicomAet": "FILE",
      "Worklists": { "Enable": true, "Database": "lists" } }`,
  );
  const { config } = loadConfig({ path, env: { WHO: 'us', ISEN__DICOM_AET: 'ENV' } });
  assert.equal(config.HttpPort, 8050);
  assert.equal(config.Name, 'us');
  assert.equal(config.DicomAet, 'ENV');
  assert.equal(config.StorageDirectory, join(folder, 'data'));
  assert.deepEqual([config.Worklists.Enable, config.Worklists.Database], [true, join(folder, 'lists')]);
  assert.match(refusal({ path, env: {} }), /commented\.json: the environment has no WHO/);
});

test('a folder is read file by file, and an option stands in one of them', () => {
  const many = join(folder, 'many');
  mkdirSync(many);
  file('many/a.json', '{ "Name": "a" }');
  file('many/b.json', '{ "HttpPort": 9000 }');
  file('many/readme.txt', 'not JSON');
  const { config } = loadConfig({ path: many, env: {} });
  assert.deepEqual([config.Name, config.HttpPort], ['a', 9000]);
  file('many/c.json', '{ "Name": "c" }');
  assert.match(refusal({ path: many, env: {} }), /Name is given twice: in .*a\.json and in .*c\.json/);
});

test('values are normalised to one form', () => {
  const path = file(
    'forms.json',
    '{ "OverwriteInstances": true, "UserContentType": { "plain": 1024, "report": [1025, "application/pdf"] } }',
  );
  const { config } = loadConfig({ path, env: {} });
  assert.equal(config.OverwriteInstances, 'Always');
  assert.deepEqual(config.UserContentType, {
    plain: { code: 1024, mime: 'application/octet-stream' },
    report: { code: 1025, mime: 'application/pdf' },
  });
  assert.equal(loadConfig({ env: { ISEN__OVERWRITE_INSTANCES: 'IfChanged' } }).config.OverwriteInstances, 'IfChanged');
  assert.equal(loadConfig({ env: { ISEN__OVERWRITE_INSTANCES: 'false' } }).config.OverwriteInstances, 'Never');
});

test('an error names each wrong option, what was given and what is allowed, and no secret', () => {
  const path = file(
    'wrong.json',
    '{ "HttpPort": 65536, "DicomAet": "SEVENTEEN_LETTERS", "RegisteredUsers": { "alice": { "hunter": 2 } }, "StableAge": -1, "UserMetadata": { "low": 12 } }',
  );
  const lines = refusal({ path, env: {} }).split('\n').sort();
  assert.equal(lines.length, 5);
  assert.match(lines[0] ?? '', /^DicomAet: got "SEVENTEEN_LETTERS"; allowed: an AE title/);
  assert.match(lines[1] ?? '', /^HttpPort: got 65536; allowed: a port from 0 to 65535 \(from .*wrong\.json\)/);
  assert.match(lines[2] ?? '', /^RegisteredUsers: .*\(at alice\)/);
  assert.doesNotMatch(lines[2] ?? '', /hunter/);
  assert.match(lines[3] ?? '', /^StableAge: got -1; allowed: a whole number from 0/);
  assert.match(lines[4] ?? '', /^UserMetadata: .*\(at low\)/);
  assert.match(refusal({ env: { ISEN__HTTP_PORT: 'abc' } }), /HttpPort: got "abc".*ISEN__HTTP_PORT/);
  assert.match(refusal({ env: { ISEN__REGISTERED_USERS: '{"a":"scrypt$broken"}' } }), /RegisteredUsers/);
});

test('what is no JSON object is refused with its place', () => {
  assert.match(
    refusal({ path: file('broken.json', '{\n "Name": \n}'), env: {} }),
    /broken\.json, line 3: ValueExpected/,
  );
  assert.match(refusal({ path: file('list.json', '[]'), env: {} }), /list\.json: a configuration is a JSON object/);
  assert.match(refusal({ path: join(folder, 'absent.json'), env: {} }), /cannot read .*absent\.json/);
});

test('unknown options warn with the nearest name, and strict makes them errors', () => {
  const path = file('unknown.json', '{ "HtpPort": 1, "Zzzzzzzzzzzzzzzzzz": 1, "_comment": "", "__proto__": {} }');
  const { warnings } = loadConfig({ path, env: { ISEN__STABLEAGE: '3', ISEN__STABLE_AGES: '3' } });
  assert.equal(warnings.length, 3);
  assert.match(warnings[0] ?? '', /unknown option HtpPort; did you mean HttpPort\?/);
  assert.match(warnings[1] ?? '', /unknown option Zzzzzzzzzzzzzzzzzz$/);
  assert.match(warnings[2] ?? '', /ISEN__STABLE_AGES; did you mean ISEN__STABLE_AGE\?/);
  assert.match(refusal({ path, env: {}, strict: true }), /HtpPort/);
});

test('a key that stands twice warns with its name, wherever it is', () => {
  const path = file(
    'doubled.json',
    '{ "Name": "a", /* once more */ "Name": "b", "RegisteredUsers": { "u": "1", "v": "1", "u": "2", }, "DicomAet": "Name" }',
  );
  const { config, warnings } = loadConfig({ path, env: {} });
  assert.equal(config.Name, 'b');
  assert.equal(config.RegisteredUsers['u'], '2');
  assert.equal(warnings.length, 2);
  assert.match(warnings[0] ?? '', /doubled\.json: Name is given twice; the last one counts/);
  assert.match(warnings[1] ?? '', /RegisteredUsers\.u is given twice/);
  assert.match(refusal({ path, env: {}, strict: true }), /given twice/);
});

test('options without effect are one warning, and none at their default', () => {
  const path = file(
    'foreign.json',
    '{ "LuaScripts": ["a.lua"], "HttpThreadsCount": 5, "MallocArenaMax": 5, "DeidentifyLogs": false }',
  );
  assert.deepEqual(loadConfig({ path, env: {} }).warnings, [
    'accepted, but nothing here corresponds: DeidentifyLogs, HttpThreadsCount, LuaScripts',
  ]);
});

test('every option accepts its default, and has one environment variable', () => {
  const variables = new Set<string>();
  for (const [name, option] of table) {
    assert.ok(option.schema.safeParse(option.default).success, name);
    assert.match(option.meaning, /^[A-Z].*\.$/, name);
    variables.add(environmentName(name));
    const env = {
      [environmentName(name)]: typeof option.default === 'string' ? option.default : JSON.stringify(option.default),
    };
    assert.deepEqual(loadConfig({ env }).warnings, [], name);
  }
  assert.equal(variables.size, table.length);
  assert.equal(environmentName('DicomAet'), 'ISEN__DICOM_AET');
  assert.equal(environmentName('StoreMD5ForAttachments'), 'ISEN__STORE_MD5_FOR_ATTACHMENTS');
  assert.equal(environmentName('HttpsCACertificates'), 'ISEN__HTTPS_CA_CERTIFICATES');
});

test('every option marked as read is read', () => {
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.ts') && name !== 'config.ts' && name !== 'options.ts')
    .map((name) => readFileSync(join(ROOT, 'src', name), 'utf8'))
    .join('\n');
  const unread = table.filter(([name, { status }]) => status === 'read' && !new RegExp(`\\.${name}\\b`).test(sources));
  assert.deepEqual(
    unread.map(([name]) => name),
    [],
  );
});

test('the defaults are those of the reference but for the listed ones', { skip: withoutShared }, () => {
  // Names of ours, and large PDUs, which cost senders and receivers less.
  const ours = ['DicomAet', 'MaximumPduLength', 'Name', 'StorageDirectory'];
  const rows = readFileSync(shared('reference/options.tsv') ?? '', 'utf8')
    .trim()
    .split('\n')
    .slice(1);
  assert.ok(rows.length > 100);
  const different = [];
  for (const row of rows) {
    const [name = '', initial = ''] = row.split('\t');
    const option = table.find(([known]) => known === name)?.[1];
    assert.ok(option, `the table has no ${name}`);
    if (JSON.stringify(option.default) !== JSON.stringify(JSON.parse(initial))) different.push(name);
  }
  assert.deepEqual(different, ours);
});

test('docs/options.md is what the table says', () => {
  const run = spawnSync(process.execPath, [join(ROOT, 'scripts/generate-options.mjs'), '--check'], {
    encoding: 'utf8',
  });
  assert.equal(run.status, 0, run.stderr);
});
