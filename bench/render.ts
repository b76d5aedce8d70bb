/**
 * Owns `npm run bench -- render`: previews per second by transfer syntax, Isen and the reference server holding the same
 * instances of 512 × 512 pixels, in one run, alternating: cold (a fresh process, asked once for each instance) and warm (the same
 * asked again).
 */

import { ImageSource } from './images.ts';
import { getPaths, percentile, sendImages } from './sender.ts';
import { startServer, type Subject } from './servers.ts';

const INSTANCES = 200;
const CLIENTS = 4;
/** Seconds that asking again takes at least, so that it can be measured. */
const AGAIN = 1;

/** The bars: Isen over the reference, whose Debian build has no JPEG 2000. */
const SYNTAXES: readonly { name: string; uid: string; bits: 8 | 16; peer: boolean }[] = [
  { name: 'uncompressed', uid: '1.2.840.10008.1.2.1', bits: 16, peer: true },
  { name: 'RLE', uid: '1.2.840.10008.1.2.5', bits: 16, peer: true },
  { name: 'JPEG lossless', uid: '1.2.840.10008.1.2.4.70', bits: 16, peer: true },
  { name: 'JPEG baseline, 8 bits', uid: '1.2.840.10008.1.2.4.50', bits: 8, peer: true },
  { name: 'JPEG-LS', uid: '1.2.840.10008.1.2.4.80', bits: 16, peer: true },
  { name: 'JPEG 2000', uid: '1.2.840.10008.1.2.4.90', bits: 16, peer: false },
];
const LEAST = { cold: 1.5, warm: 3 } as const;
type State = keyof typeof LEAST;

const median = (values: readonly number[]): number => percentile(values, 0.5);

/** A folder in which a server has stored the instances. */
async function filled(subject: Subject, { uid, bits }: (typeof SYNTAXES)[number]): Promise<string> {
  const server = await startServer(subject);
  try {
    const source = new ImageSource({
      rows: 512,
      columns: 512,
      instancesPerSeries: 50,
      seed: 3,
      transferSyntax: uid,
      bits,
    });
    const sent = await sendImages(server.port, source, CLIENTS, INSTANCES);
    if (sent.failures > 0) throw new Error(`${subject} refused ${sent.failures} uploads`);
  } finally {
    await server.stop();
  }
  return server.folder;
}

/** Previews per second in a fresh process, of either kind; megabytes of it afterwards. */
async function measure(subject: Subject, folder: string): Promise<Record<State | 'memory', number>> {
  const server = await startServer(subject, { folder });
  try {
    const ids = (await (await fetch(`http://127.0.0.1:${server.port}/instances`)).json()) as string[];
    const paths = ids.sort().map((id) => `/instances/${id}/preview`);
    const rate = async (least: number): Promise<number> => {
      let [count, seconds] = [0, 0];
      do {
        const got = await getPaths(server.port, paths, CLIENTS, paths.length);
        if (got.failures > 0) throw new Error(`${subject} refused ${got.failures} pictures`);
        count += got.count;
        seconds += got.seconds;
      } while (seconds < least);
      return count / seconds;
    };
    return { cold: await rate(0), warm: await rate(AGAIN), memory: server.memory() };
  } finally {
    await server.stop();
  }
}

/** Arguments: `--rounds N` (3), `--syntax "RLE"`, `--subjects isen,reference`. */
export async function run(args: readonly string[]): Promise<void> {
  const option = (name: string): string | undefined => {
    const at = args.indexOf(`--${name}`);
    return at < 0 ? undefined : args[at + 1];
  };
  const rounds = Number(option('rounds') ?? 3);
  const wanted = (['isen', 'reference'] as const).filter(
    (subject) => option('subjects')?.split(',').includes(subject) ?? true,
  );
  const ratios: string[] = [];
  const details: string[] = [];
  for (const syntax of SYNTAXES) {
    if (option('syntax') !== undefined && option('syntax') !== syntax.name) continue;
    const subjects = wanted.filter((subject) => subject === 'isen' || syntax.peer);
    const folders = new Map<Subject, string>();
    for (const subject of subjects) folders.set(subject, await filled(subject, syntax));
    const seen = new Map<Subject, Record<State | 'memory', number>[]>();
    for (let round = 0; round < rounds; round += 1) {
      for (const subject of round % 2 === 0 ? subjects : [...subjects].reverse())
        seen.set(subject, [...(seen.get(subject) ?? []), await measure(subject, folders.get(subject) ?? '')]);
    }
    for (const state of ['cold', 'warm'] as const) {
      const rates = (subject: Subject): number[] => (seen.get(subject) ?? []).map((each) => each[state]);
      const [ours, theirs] = [median(rates('isen')), median(rates('reference'))];
      if (subjects.length === 2) {
        const verdict = ours / theirs >= LEAST[state] ? 'met' : 'MISSED';
        ratios.push(`${(ours / theirs).toFixed(2)} ${syntax.name}, ${state} (bar ${LEAST[state]}: ${verdict})`);
      }
      for (const subject of subjects) {
        const raw = rates(subject).map((value) => value.toFixed(0));
        const memory = median((seen.get(subject) ?? []).map((each) => each.memory)).toFixed(0);
        details.push(
          `  ${syntax.name}, ${state}, ${subject}: ${median(rates(subject)).toFixed(0)}/s [${raw.join(' ')}]  ${memory} MB`,
        );
      }
    }
  }
  process.stdout.write(
    `isen : reference, previews/s of ${INSTANCES} instances of 512 × 512 pixels, ${CLIENTS} clients\n${ratios.join('\n')}\n${details.join('\n')}\n`,
  );
}
