/**
 * Owns the process that the suite of the engine kills: runs jobs of many steps, each a checkpoint, and says on standard
 * output which step was made durable.
 */

import { join } from 'node:path';
import { createEngine } from '../../src/jobs/engine.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import { openQueue } from './opened.ts';
import { say } from '../say.ts';

/** Steps of one job. */
const STEPS = 400;

const [folder = ''] = process.argv.slice(2);
const queue = await openQueue(join(folder, 'index'));
const storage = await openFilesystem({ root: join(folder, 'blobs'), sync: false });
const jobs = createEngine({ queue, storage, concurrent: 2, history: 10, save: true, outputs: 10 });
jobs.register({
  type: 'Steps',
  deadline: 60_000,
  async run(job) {
    const begun = Number(job.state ?? 0);
    say(`begin ${job.id} ${begun}\n`);
    for (let step = begun + 1; step <= STEPS; step++) {
      await job.checkpoint(step);
      say(`step ${job.id} ${step}\n`);
    }
    return { Steps: STEPS };
  },
});
await jobs.start();
if ((await jobs.count()).Pending + (await jobs.count()).Running === 0) {
  for (let n = 0; n < 4; n++) say(`submitted ${await jobs.submit({ type: 'Steps', content: {} })}\n`);
}
