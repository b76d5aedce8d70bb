/** Owns the part of `rest` about anonymisation: instances a second that a study is anonymised at, from the request to its answer, the copy stored. */

import { ImageSource } from './images.ts';
import { percentile, sendImages } from './sender.ts';
import { type Running, startServer } from './servers.ts';

const INSTANCES = 100;
/** The bar: Isen over the reference. */
const LEAST = 2;
/** Requests before those that are measured: the code is compiled then. */
const WARM = 6;

async function anonymise(server: Running, study: string): Promise<number> {
  const url = `http://127.0.0.1:${server.port}`;
  const began = performance.now();
  const answer = await fetch(`${url}/studies/${study}/anonymize`, { method: 'POST', body: '{}' });
  const { ID } = (await answer.json()) as { ID?: string };
  const seconds = (performance.now() - began) / 1000;
  const counted = await (await fetch(`${url}/studies/${ID}/statistics`)).json();
  const { CountInstances } = counted as { CountInstances: number };
  if (Number(CountInstances) !== INSTANCES) throw new Error(`${server.subject} made ${CountInstances} instances`);
  await fetch(`${url}/studies/${ID}`, { method: 'DELETE' });
  return INSTANCES / seconds;
}

/** Lines to print, the ratio first. */
export async function anonymisation(rounds: number): Promise<readonly string[]> {
  const servers: Running[] = [];
  const rates = new Map<Running, number[]>();
  const spent = new Map<Running, number>();
  try {
    for (const subject of ['isen', 'reference'] as const) {
      const server = await startServer(subject);
      servers.push(server);
      const source = new ImageSource({ rows: 512, columns: 512, instancesPerSeries: INSTANCES, seed: 5 });
      const sent = await sendImages(server.port, source, 4, INSTANCES);
      if (sent.failures > 0) throw new Error(`${subject} refused ${sent.failures} uploads`);
    }
    for (let round = -WARM; round < rounds; round += 1) {
      for (const server of round % 2 === 0 ? servers : [...servers].reverse()) {
        const answer = await fetch(`http://127.0.0.1:${server.port}/studies`);
        const [study = ''] = (await answer.json()) as string[];
        const before = server.cpu();
        const rate = await anonymise(server, study);
        if (round < 0) continue;
        rates.set(server, [...(rates.get(server) ?? []), rate]);
        spent.set(server, (spent.get(server) ?? 0) + server.cpu() - before);
      }
    }
  } finally {
    for (const server of servers) await server.stop();
  }
  const of = (server: Running | undefined): readonly number[] => (server && rates.get(server)) ?? [];
  const ratio = percentile(of(servers[0]), 0.5) / percentile(of(servers[1]), 0.5);
  return [
    `${ratio.toFixed(2)} anonymisation of ${INSTANCES} slices of 512 KB (bar ${LEAST}: ${ratio >= LEAST ? 'met' : 'MISSED'})`,
    ...servers.map((server) => {
      const raw = of(server).map((rate) => rate.toFixed(0));
      const cpu = ((spent.get(server) ?? 0) * 1000) / (rounds * INSTANCES);
      return `  ${server.subject}: ${percentile(of(server), 0.5).toFixed(0)}/s [${raw.join(' ')}], ${cpu.toFixed(1)} ms of CPU each`;
    }),
  ];
}
