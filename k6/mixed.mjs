// Starts the cluster of docker-compose.yml on this machine, and k6/mixed.js over its balancer (build first): node k6/mixed.mjs [options of k6]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startCluster } from '../dist/deploy/native.js';
import { receive } from '../dist/test/scu/receiver.js';

const receiver = await receive({ keep: false });
const cluster = await startCluster({
  without: ['prometheus', 'grafana'],
  env: {
    ISEN__DICOM_MODALITIES: JSON.stringify({ receiver: ['RECEIVER', '127.0.0.1', receiver.port] }),
    ISEN__ROUTES: JSON.stringify([{ Name: 'all', To: 'receiver' }]),
  },
});
const { ISEN_USER, ISEN_PASSWORD } = cluster.variables;
try {
  const script = fileURLToPath(new URL('mixed.js', import.meta.url));
  const variables = [
    `URL=http://${cluster.address('balancer', 8042)}`,
    `USER=${ISEN_USER}`,
    `PASSWORD=${ISEN_PASSWORD}`,
    'MODALITY=receiver',
  ];
  const args = ['run', ...variables.flatMap((each) => ['-e', each]), ...process.argv.slice(2), script];
  const [code] = await once(spawn('k6', args, { stdio: 'inherit' }), 'exit');
  process.exitCode = code ?? 1;
} finally {
  await cluster.stop();
  await receiver.close();
}
