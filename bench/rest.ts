/** Owns `npm run bench -- rest`: searches, archives and anonymisation, Isen and the reference server in one run, alternating. */

import { anonymisation } from './rest-anonymise.ts';
import { archive } from './rest-archive.ts';
import { find } from './rest-find.ts';

const PARTS: Readonly<Record<string, (rounds: number) => Promise<readonly string[]>>> = {
  find,
  archive,
  anonymise: anonymisation,
};

/** Arguments: names of parts (`find`, `archive`, `anonymise`; all of them), `--rounds N` (3). */
export async function run(args: readonly string[]): Promise<void> {
  const at = args.indexOf('--rounds');
  const rounds = at < 0 ? 3 : Number(args[at + 1]);
  const names = Object.keys(PARTS).filter((name) => args.includes(name));
  process.stdout.write('isen : reference\n');
  for (const name of names.length > 0 ? names : Object.keys(PARTS))
    process.stdout.write(`${(await PARTS[name]?.(rounds))?.join('\n')}\n`);
}
