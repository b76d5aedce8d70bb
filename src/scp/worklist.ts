/** Owns the modality worklist (PS3.4 §K): C-FIND over a folder of DICOM files that end in `.wl`, read anew for each query. */

import { readdir, readFile as readBytes, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { toJson } from '../dicom/json.ts';
import { answerOf, type Condition, conditionsOf, matches, type Values } from '../dicom/match.ts';
import { readFile } from '../dicom/read.ts';
import { asError, IsenError } from '../errors.ts';
import { log } from '../log.ts';
import type { FindSource } from './find.ts';

/** Bytes that a worklist file may have. */
const LARGEST = 4 * 1024 * 1024;

/** Scheduled Procedure Step Sequence, and in it Scheduled Station AE Title. */
const STEPS = '0040,0100';
const STATION_AET = '0040,0001';

/** The worklist as `callingAet` may see it. */
export function worklistSource(config: Config, callingAet: string): FindSource {
  const { Database: folder, FilterIssuerAet: filter, LimitAnswers } = config.Worklists;
  const caseSensitivePN = config.CaseSensitivePN;
  const limit = LimitAnswers || Infinity;
  return {
    plan(identifier) {
      const conditions = conditionsOf(identifier, { caseSensitivePN, combined: true });
      const own: Condition = { tag: STATION_AET, vr: 'AE', match: 'equal', value: callingAet };
      const all = filter ? withinSteps(conditions, own) : conditions;
      return {
        unsupported: false,
        async *answers(more, cancelled) {
          let count = 0;
          for await (const values of worklist(folder)) {
            if (cancelled.aborted) return;
            if (!all.every((condition) => matches(values, condition, caseSensitivePN))) continue;
            if (count === limit) return more();
            count += 1;
            yield answerOf(identifier, matching(values, all, caseSensitivePN));
          }
        },
      };
    },
  };
}

/** The conditions with one more on the scheduled procedure steps. */
function withinSteps(conditions: readonly Condition[], added: Condition): readonly Condition[] {
  const steps = conditions.find(({ tag, match }) => tag === STEPS && match === 'sequence');
  const of = steps?.match === 'sequence' ? steps.conditions.filter(({ tag }) => tag !== added.tag) : [];
  return [
    ...conditions.filter((each) => each !== steps),
    { tag: STEPS, vr: 'SQ', match: 'sequence', conditions: [...of, added] },
  ];
}

/** Of sequences that were matched, the items that match: the other steps of a procedure were not asked for. */
function matching(values: Values, conditions: readonly Condition[], caseSensitivePN: boolean): Values {
  const kept: Record<string, Values[string]> = { ...values };
  for (const condition of conditions) {
    const items = kept[condition.tag];
    if (condition.match !== 'sequence' || typeof items !== 'object' || items === null) continue;
    kept[condition.tag] = items.filter((item) =>
      condition.conditions.every((each) => matches(item, each, caseSensitivePN)),
    );
  }
  return kept;
}

/** The entries of the folder in the order of their names; a file that is none is passed over. Throws InexistentFile for the folder. */
async function* worklist(folder: string): AsyncGenerator<Values, void> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (thrown) {
    throw new IsenError('InexistentFile', 'the folder of the worklist cannot be read', { cause: thrown });
  }
  for (const name of names.filter((each) => /\.wl$/i.test(each)).sort()) {
    try {
      const path = join(folder, name);
      if ((await stat(path)).size > LARGEST) throw new IsenError('BadFileFormat', 'larger than a worklist file may be');
      const { dataSet } = readFile(await readBytes(path));
      yield toJson(dataSet, 'Short', { maximumLength: 0 }) as Values;
    } catch (thrown) {
      log.dicom.warn({ reason: asError(thrown).message }, 'a worklist file cannot be read');
      log.dicom.debug({ file: name }, 'the worklist file');
    }
  }
}
