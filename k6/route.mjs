// Starts two servers, a rule that forwards everything from one to the other, and k6/route.js over them: node k6/route.mjs
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const launcher = fileURLToPath(new URL('../bin/isen.cjs', import.meta.url));
const script = fileURLToPath(new URL('route.js', import.meta.url));

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** A server with these options, once it answers. */
async function start(name, options) {
  const folder = mkdtempSync(join(tmpdir(), `isen-k6-${name}-`));
  const config = {
    HttpPort: await freePort(),
    StorageDirectory: join(folder, 'storage'),
    AuthenticationEnabled: false,
    ...options,
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  const child = spawn(process.execPath, [launcher, 'serve', join(folder, 'config.json')], { stdio: 'inherit' });
  const url = `http://127.0.0.1:${config.HttpPort}`;
  for (let tries = 0; tries < 600; tries++) {
    if (child.exitCode !== null) break;
    if (
      await fetch(`${url}/system`).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      return { child, url };
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  child.kill();
  throw new Error(`the ${name} did not start`);
}

const DicomPort = await freePort();
const receiver = await start('receiver', { DicomPort, DicomAet: 'RECEIVER' });
const sender = await start('sender', {
  DicomServerEnabled: false,
  DicomModalities: { receiver: ['RECEIVER', '127.0.0.1', DicomPort] },
  Routes: [{ Name: 'all', To: 'receiver' }],
});
try {
  const run = spawnSync(
    'k6',
    ['run', '-e', `URL=${sender.url}`, '-e', `RECEIVER=${receiver.url}`, ...process.argv.slice(2), script],
    {
      stdio: 'inherit',
    },
  );
  process.exitCode = run.status ?? 1;
} finally {
  for (const { child } of [sender, receiver]) {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill();
    await ended;
  }
}
