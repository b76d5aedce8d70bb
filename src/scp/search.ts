/**
 * Owns how the keys of a C-FIND become a search of the index (PS3.4 §C.4.1.3): what the index decides, what is decided here, which
 * attributes come from files, and the answers, page by page.
 */

import type { Config } from '../config.ts';
import { COMPUTED, COMPUTED_TAGS } from '../database/computed.ts';
import type { Computed, Constraint, Database, FindRequest, Found } from '../database/database.ts';
import { lookup, tagNumber } from '../dicom/dictionary.ts';
import { type Identifier, textIn } from '../dicom/identifier.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { answerOf, type Condition, conditionsOf, matches, type Values } from '../dicom/match.ts';
import { IsenError } from '../errors.ts';
import type { Headers } from '../ingest/header.ts';

/** What a search needs of the server. */
export interface SearchRoom {
  readonly config: Config;
  readonly database: Database;
  readonly headers: Headers;
}

/** Query/Retrieve Level (0008,0052). */
export const QUERY_RETRIEVE_LEVEL = '0008,0052';
const RETRIEVE_AE_TITLE = '0008,0054';
const SOP_CLASS_UID = '0008,0016';

/** Resources that one statement reads, and files that are read side by side. */
const PAGE = 200;
const WIDTH = 8;

/** The levels by their names in an identifier (PS3.4 §C.6.1.1.1), and one that Orthanc takes too. */
const LEVEL_OF: Readonly<Record<string, Level>> = {
  PATIENT: 'Patient',
  STUDY: 'Study',
  SERIES: 'Series',
  IMAGE: 'Instance',
  INSTANCE: 'Instance',
};

/** The name of a level in an identifier. */
export function levelName(level: Level): string {
  return level === 'Instance' ? 'IMAGE' : level.toUpperCase();
}

/** The level that an identifier names, or undefined. */
export function levelOf(identifier: Identifier): Level | undefined {
  return LEVEL_OF[textIn(identifier, QUERY_RETRIEVE_LEVEL)?.trim().toUpperCase() ?? ''];
}

/** One search, planned. */
export interface Search {
  readonly level: Level;
  /** Yields the answers in the order of the index; `more` is told when the limit cut them off. */
  answers(more: () => void, cancelled: AbortSignal): AsyncGenerator<Identifier, void>;
  /** Some key could not be matched or answered, because `StorageAccessOnFind` keeps files shut. */
  readonly unsupported: boolean;
}

/** Levels from `level` up. */
const upwards = (level: Level): readonly Level[] => LEVELS.slice(0, LEVELS.indexOf(level) + 1).toReversed();

const isIndexed = (tag: string, level: Level): boolean =>
  upwards(level).some((each) => LEVEL[each].mainDicomTags.includes(tag));

/**
 * The part of a condition that the index can decide. `exact` says that it decides all of it; times are compared by the hour there, since
 * texts of different precision do not sort.
 */
export function constraintOf(
  condition: Condition,
  level: Level,
  caseSensitivePN: boolean,
): { readonly constraint: Constraint; readonly exact: boolean } | undefined {
  const { tag, vr } = condition;
  if (!isIndexed(tag, level)) return undefined;
  // Of several values any may match, and numbers are equal in many spellings.
  if (lookup(tagNumber(tag))?.vm !== '1' || vr === 'IS' || vr === 'DS') return undefined;
  const caseSensitive = vr === 'PN' ? caseSensitivePN : vr !== 'DA' && vr !== 'UI' && vr !== 'TM';
  const hour = (time: string): string => time.trim().slice(0, 2);
  switch (condition.match) {
    case 'equal': {
      const value = condition.value.trim();
      if (vr === 'TM') {
        const range = { from: hour(value), to: `${hour(value)}~` };
        return { constraint: { tag, caseSensitive, match: 'range', ...range }, exact: false };
      }
      return { constraint: { tag, caseSensitive, match: 'equal', value }, exact: true };
    }
    case 'list': {
      if (vr === 'TM') return undefined;
      const values = condition.values.map((value) => value.trim());
      return { constraint: { tag, caseSensitive, match: 'list', values }, exact: true };
    }
    case 'wildcard':
      return { constraint: { tag, caseSensitive, match: 'wildcard', value: condition.value.trim() }, exact: true };
    case 'range': {
      const from = condition.from?.replaceAll(/[.:]/g, '');
      const to = condition.to?.replaceAll(/[.:]/g, '');
      const start = from === undefined ? {} : { from: vr === 'TM' ? hour(from) : from };
      const end = to === undefined ? {} : { to: vr === 'TM' ? `${hour(to)}~` : `${to}~` };
      return { constraint: { tag, caseSensitive, match: 'range', ...start, ...end }, exact: false };
    }
    case 'combined':
    case 'sequence':
      return undefined;
  }
}

/** Tags at every depth. */
function allTags(identifier: Identifier): string[] {
  return identifier.flatMap(({ tag, value }) => [
    tag,
    ...(typeof value === 'string' ? [] : value.flatMap((item) => allTags(item))),
  ]);
}

/**
 * Plans the search that an identifier asks for. Throws BadRequest where it names no level, ParameterOutOfRange where a key cannot be
 * matched.
 */
export function planSearch({ config, database, headers }: SearchRoom, identifier: Identifier): Search {
  const caseSensitivePN = config.CaseSensitivePN;
  const access = config.StorageAccessOnFind;
  const level = levelOf(identifier);
  if (level === undefined) throw new IsenError('BadRequest', 'Query/Retrieve Level (0008,0052) is not one of the four');
  const keys = identifier.filter(({ tag }) => tag !== QUERY_RETRIEVE_LEVEL && tag !== RETRIEVE_AE_TITLE);
  const inFile = (tag: string): boolean =>
    !isIndexed(tag, level) && !COMPUTED_TAGS.has(tag) && !(tag === SOP_CLASS_UID && level === 'Instance');
  const fileTags = keys.map(({ tag }) => tag).filter(inFile);
  const where: Constraint[] = [];
  /** Conditions that are decided here, before and after files are read. */
  const before: Condition[] = [];
  const after: Condition[] = [];
  for (const condition of conditionsOf(keys, { caseSensitivePN, combined: false })) {
    const decided = constraintOf(condition, level, caseSensitivePN);
    if (decided !== undefined) where.push(decided.constraint);
    if (inFile(condition.tag)) {
      if (access === 'Always') after.push(condition);
    } else if (decided?.exact !== true) before.push(condition);
  }
  const readsFiles = fileTags.length > 0 && access !== 'Never';
  /** Levels whose computed attributes are asked for. */
  const computed = upwards(level).filter((each) => keys.some(({ tag }) => tag in COMPUTED[each]));
  const own = new Set([...LEVEL[level].mainDicomTags, ...(level === 'Study' ? LEVEL.Patient.mainDicomTags : [])]);
  const needsAncestors =
    computed.some((each) => each !== level) || keys.some(({ tag }) => !own.has(tag) && isIndexed(tag, level));
  const limit = (level === 'Instance' ? config.LimitFindInstances : config.LimitFindResults) || Infinity;
  const request: FindRequest = {
    level,
    where,
    limit: PAGE,
    ...(needsAncestors && { ancestors: true }),
    ...(computed.includes(level) && level !== 'Instance' && { computed: true }),
    ...(readsFiles && { instance: true }),
  };

  const valuesOf = async (found: Found, parents: Map<string, Computed>): Promise<Values | undefined> => {
    const values: Record<string, Values[string]> = {};
    for (const each of upwards(level)) {
      const at = each === level ? found : found.ancestors?.[each];
      for (const [tag, value] of Object.entries(at?.tags ?? {})) values[tag] ??= value;
    }
    if (level === 'Instance') values[SOP_CLASS_UID] = found.metadata['SopClassUid']?.value;
    for (const each of computed) {
      const sums = each === level ? (found.computed ?? NOTHING) : await above(each, found, parents);
      for (const [tag, value] of Object.entries(COMPUTED[each])) values[tag] = value(sums);
    }
    if (!before.every((condition) => matches(values, condition, caseSensitivePN))) return undefined;
    if (readsFiles && found.instance !== undefined) {
      const text = await headers.tags(found.instance, {
        format: 'Short',
        only: fileTags,
        ignoreLength: allTags(keys),
      });
      for (const [tag, value] of Object.entries(JSON.parse(text) as Values)) values[tag] ??= value;
    }
    return after.every((condition) => matches(values, condition, caseSensitivePN)) ? values : undefined;
  };

  /** What is below an ancestor; the resources of a page have few of them. */
  const above = async (each: Level, found: Found, parents: Map<string, Computed>): Promise<Computed> => {
    const id = found.ancestors?.[each]?.id ?? '';
    const known = parents.get(id);
    if (known !== undefined) return known;
    const [parent] = await database.find({ level: each, id, computed: true });
    const sums = parent?.computed ?? NOTHING;
    parents.set(id, sums);
    return sums;
  };

  const named = identifier.map((key) =>
    key.tag === QUERY_RETRIEVE_LEVEL ? { ...key, vr: 'CS', value: levelName(level) } : key,
  );
  const answered: Identifier = [
    ...named.filter(({ tag }) => tag !== RETRIEVE_AE_TITLE),
    { tag: RETRIEVE_AE_TITLE, vr: 'AE', value: '' },
  ].toSorted((a, b) => (a.tag < b.tag ? -1 : 1));

  return {
    level,
    unsupported: fileTags.length > 0 && access !== 'Always',
    async *answers(more, cancelled) {
      let count = 0;
      for (let last: string | undefined; ; ) {
        const page = await database.find({ ...request, ...(last !== undefined && { after: last }) });
        const parents = new Map<string, Computed>();
        for (let at = 0; at < page.length; at += WIDTH) {
          if (cancelled.aborted) return;
          const group = await Promise.all(page.slice(at, at + WIDTH).map((found) => valuesOf(found, parents)));
          for (const values of group) {
            if (values === undefined) continue;
            if (count === limit) {
              more();
              return;
            }
            count += 1;
            yield answerOf(answered, {
              ...values,
              [QUERY_RETRIEVE_LEVEL]: levelName(level),
              [RETRIEVE_AE_TITLE]: config.DicomAet,
            });
          }
        }
        last = page.at(-1)?.id;
        if (page.length < PAGE) return;
      }
    },
  };
}

const NOTHING: Computed = { studies: 0, series: 0, instances: 0, modalities: [], sopClasses: [] };
