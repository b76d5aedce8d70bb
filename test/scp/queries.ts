/** Owns how suites read what DCMTK's query programs print. */

import { run } from './programs.ts';

/** Elements of one data set as printed: tag, VR and value, items of sequences deeper by their indentation. */
export type Printed = readonly string[];

/** What a C-FIND answered. */
export interface FindOutcome {
  /** As `0xff00`, of every response in order. */
  readonly statuses: readonly string[];
  readonly answers: readonly Printed[];
}

const ELEMENT = /^[A-Z]: (\s*)\(([0-9a-f]{4},[0-9a-f]{4})\) (\w\w) (.*?)\s+#/;

/** Asks with findscu; `keys` are `-k` each. Values are in Latin-1, as they came. */
export async function findscu(
  port: number,
  aet: string,
  keys: readonly string[],
  options: readonly string[] = ['-S'],
): Promise<FindOutcome> {
  const asked = keys.flatMap((key) => ['-k', key]);
  const { output } = await run('findscu', ['-d', ...options, '-aec', aet, '127.0.0.1', String(port), ...asked]);
  const answers: string[][] = [];
  let current: string[] | undefined;
  for (const line of output.split('\n')) {
    if (line.includes('Response Identifiers:')) answers.push((current = []));
    else if (line.includes('INCOMING DIMSE MESSAGE')) current = undefined;
    const [, indentation, tag, vr, value] = ELEMENT.exec(line) ?? [];
    if (tag === undefined || value === undefined) continue;
    const plain = value.startsWith('[') ? `[${value.slice(1, -1).trimEnd().replaceAll('\0', '')}]` : value;
    current?.push(`${indentation ?? ''}${tag} ${vr ?? ''} ${plain}`);
  }
  return { statuses: statusesOf(output), answers };
}

/** The statuses that a DCMTK program printed, in order. */
export function statusesOf(output: string): readonly string[] {
  return [...output.matchAll(/DIMSE Status\s+: (0x\w+)/g)].map((match) => match[1] ?? '');
}

/** The last of each count of sub-operations that movescu or getscu printed. */
export function countsOf(output: string): Readonly<Record<string, number>> {
  const found = [...output.matchAll(/(Remaining|Completed|Failed|Warning) Suboperations\s*: (\d+)/g)];
  return Object.fromEntries(found.map(([, name = '', count]) => [name, Number(count)]));
}
