/** Archives where several servers share everything: one makes it, all of them have it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { make } from '../dicom/made.ts';
import { without } from '../peer.ts';
import { startPostgres, withoutPostgres } from '../postgres-server.ts';
import { startRedis } from '../redis-server.ts';
import { S3_SERVER, startS3 } from '../s3-server.ts';
import { serve } from './served.ts';

const skip = without('redis-server') || without(S3_SERVER) || withoutPostgres();

test('an archive that one server made is downloaded from any', { skip, timeout: 60_000 }, async () => {
  const [redis, postgres, s3] = await Promise.all([startRedis(), startPostgres(), startS3()]);
  const { host, port, database, username, password } = postgres.connection;
  const node = (name: string) =>
    serve({
      NodeName: name,
      PostgreSQL: { Host: host, Port: port, Database: database, Username: username, Password: password },
      Redis: { Url: redis.target.url },
      S3: { Bucket: s3.bucket, Endpoint: s3.endpoint, AccessKey: s3.accessKey, SecretKey: s3.secretKey },
    });
  const one = await node('one');
  const two = await node('two');
  try {
    let study = '';
    for (let number = 1; number <= 5; number += 1) {
      const body = new Uint8Array(make({ sopUid: `2.25.10.${number}`, rows: 256, columns: 256 }));
      const answer = await fetch(`${one.url}/instances`, { method: 'POST', body });
      study = ((await answer.json()) as { ParentStudy: string }).ParentStudy;
    }
    // Several, so that both have had a turn.
    for (let round = 0; round < 4; round += 1) {
      const begun = await fetch(`${(round % 2 === 0 ? one : two).url}/studies/${study}/archive`, {
        method: 'POST',
        body: JSON.stringify({ Asynchronous: true }),
      });
      const { Path } = (await begun.json()) as { Path: string };
      for (const { url } of [two, one]) {
        let job: { State: string; Content: { ArchiveSize: string; InstancesCount: number } };
        for (;;) {
          job = (await (await fetch(url + Path)).json()) as typeof job;
          if (job.State === 'Success' || job.State === 'Failure') break;
          await sleep(20);
        }
        assert.equal(job.Content.InstancesCount, 5);
        const output = await fetch(`${url}${Path}/archive`);
        assert.equal(output.status, 200);
        assert.equal(String((await output.arrayBuffer()).byteLength), job.Content.ArchiveSize);
        const streamed = await fetch(`${url}/studies/${study}/archive`);
        assert.equal(String((await streamed.arrayBuffer()).byteLength), job.Content.ArchiveSize);
      }
    }
  } finally {
    await Promise.all([one.close(), two.close()]);
    await Promise.all([redis.stop(), postgres.stop(), s3.kill()]);
  }
});
