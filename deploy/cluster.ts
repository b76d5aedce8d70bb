/** Owns `npm run cluster`: the cluster on this machine until Ctrl-C, and where it is to be found. */

import { startCluster } from './native.ts';

const say = (text: string): void => void process.stdout.write(`${text}\n`);

const port = process.argv[2];
if (port !== undefined && !/^\d{4,5}$/.test(port)) {
  process.stderr.write('Usage: npm run cluster [-- first port]\n');
  process.exit(2);
}
say('starting the services of docker-compose.yml on this machine …');
const cluster = await startCluster(port === undefined ? {} : { port: Number(port) });
const { ISEN_USER: user, ISEN_PASSWORD: password } = cluster.variables;
say(`
HTTP        http://${cluster.address('balancer', 8042)}   user ${user}, password ${password}
DICOM       ${cluster.address('balancer', 4242)}   AE title ISEN
`);
for (const { name, ports } of cluster.services) {
  const why = cluster.missing.get(name);
  if (why !== undefined) say(`${name.padEnd(12)}not started: ${why}`);
  else if (ports.length > 0) say(`${name.padEnd(12)}${ports.map((each) => cluster.address(name, each)).join('  ')}`);
}
say(`
logs and data are in ${cluster.folder}; Ctrl-C ends everything and removes them`);

let ending = false;
const end = (): void => {
  if (ending) process.exit(1);
  ending = true;
  cluster.stop().then(
    () => process.exit(0),
    (thrown: unknown) => {
      process.stderr.write(`${String(thrown)}\n`);
      process.exit(1);
    },
  );
};
process.on('SIGINT', end);
process.on('SIGTERM', end);
setInterval(() => {}, 3_600_000);
