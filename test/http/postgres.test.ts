/** Runs suites of the whole server once more, with its index in PostgreSQL. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { withoutShared } from '../peer.ts';
import { type PostgresServer, startPostgres, withoutPostgres } from '../postgres-server.ts';

const skip = withoutPostgres();
let server: PostgresServer;
before(async () => {
  if (skip === false) server = await startPostgres();
});
after(async () => {
  if (skip === false) await server.stop();
});

/** Runs the tests of a suite whose names match, on PostgreSQL; its output, once it succeeded. */
async function run(suite: string, names: string): Promise<string> {
  const { host, port, database, username, password } = server.connection;
  const option = { Host: host, Port: port, Database: database, Username: username, Password: password };
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(
    process.execPath,
    ['--test', `--test-name-pattern=${names}`, fileURLToPath(new URL(suite, import.meta.url))],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...env, ISEN_TEST_POSTGRESQL: JSON.stringify(option) },
      timeout: 110_000,
    },
  );
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 0, output.slice(-5000));
  // A suite that needs the reference material has nothing to run where that is missing, and says so itself.
  assert.match(output, withoutShared === false ? /pass [1-9]/ : /(pass|skipped) [1-9]/);
  return output;
}

test('postgres: the recorded answers of the reference', { skip: skip || withoutShared, timeout: 120_000 }, async () => {
  const output = await run('../reference.test.js', '^(upload|instances|resources|changes|writes): ');
  assert.match(output, /pass 5/);
});

const SUITES = [
  'http/browse',
  'http/changes',
  'http/files',
  'http/jobs',
  'http/kept',
  'http/queries',
  'jobs/route',
  'jobs/store',
  'scp/find',
  'scp/retrieve',
];
for (const suite of SUITES) {
  test(`postgres: ${suite}`, { skip, timeout: 120_000 }, async () => {
    await run(`../${suite}.test.js`, '.');
  });
}
