/**
 * Owns routing rules as data: how one is written, and whether it applies to an instance. Where a condition takes several values,
 * any of them will do; a rule applies when all its conditions do.
 */

import { BlockList, isIP } from 'node:net';
import { z } from 'zod';
import { CHANGE_TYPES, type ChangeType } from '../database/database.ts';
import { matchesWildcard, normalise } from '../database/find.ts';
import { lookup, parseTag, tagName, tagNumber } from '../dicom/dictionary.ts';
import { interval, type Interval, rangeOf } from '../dicom/match.ts';
import { LEVELS, type Level } from '../dicom/levels.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { asIsenError, IsenError } from '../errors.ts';
import type { Asked } from '../imaging/modify.ts';
import { checkName } from '../scu/modalities.ts';
import { modificationOf, ModificationSchema } from './rule-modification.ts';

/** Events after which there is something whole to send; a new series or study is known by its new instances. */
const EVENTS: readonly ChangeType[] = CHANGE_TYPES.filter(
  (type) => !['NewPatient', 'NewSeries', 'NewStudy', 'Deleted'].includes(type),
);

const texts = z.union([z.string().min(1).max(1024), z.array(z.string().min(1).max(1024)).min(1).max(256)]);
const values = z.union([z.string().max(1024), z.array(z.string().max(1024)).min(1).max(1024)]);

const WhenSchema = z.strictObject({
  Event: texts.optional(),
  Level: texts.optional(),
  CallingAet: values.optional(),
  CalledAet: values.optional(),
  RemoteIp: texts.optional(),
  HttpUser: values.optional(),
  Tags: z.record(z.string(), values).optional(),
  Labels: texts.optional(),
});

/** A rule as clients write it. */
export const RuleSchema = z.strictObject({
  Name: z.string().optional(),
  When: WhenSchema.optional(),
  To: z.union([z.string(), z.array(z.string()).min(1).max(64)]),
  Priority: z.number().int().min(-1000).max(1000).optional(),
  Transcode: z.string().optional(),
  Enabled: z.boolean().optional(),
  Modify: ModificationSchema.optional(),
  Anonymize: ModificationSchema.optional(),
});

/** Metadata of reception that conditions look at. */
const RECEPTION = {
  CallingAet: 'RemoteAET',
  CalledAet: 'CalledAET',
  HttpUser: 'HttpUsername',
} as const;

/** Tags that the index knows from elsewhere than the main tags. */
const METADATA_TAGS: Readonly<Record<string, string>> = { '0008,0016': 'SopClassUid', '0002,0010': 'TransferSyntax' };

/** What a rule is asked about. */
export interface Facts {
  readonly event: ChangeType;
  /** Of the resource that the event is about. */
  readonly level: Level;
  /** Of the instance. */
  readonly metadata: (name: string) => string | undefined;
  /** Of the instance and of what it belongs to. */
  readonly labels: ReadonlySet<string>;
  /** The value of a tag (`gggg,eeee`), values separated by backslashes; how to get it where its file must be read. */
  readonly tag: (tag: string) => string | undefined | (() => Promise<string | undefined>);
}

/** One tested condition: why it does not hold, or undefined. */
type Condition = (facts: Facts) => string | undefined;

interface TagCondition {
  readonly tag: string;
  readonly holds: (value: string) => string | undefined;
}

/** A rule, ready to be asked. */
export interface Rule {
  readonly name: string;
  readonly enabled: boolean;
  /** Names of modalities or peers. */
  readonly to: readonly string[];
  readonly priority: number;
  /** Transfer syntax to send in, where the receiver takes it. */
  readonly transcode: string | undefined;
  /** What is changed in what it sends. */
  readonly modification: Asked | undefined;
  readonly events: ReadonlySet<ChangeType>;
  /** Whether it looks at labels, or at what the index says of an instance. */
  readonly needs: { readonly labels: boolean; readonly facts: boolean };
  readonly conditions: readonly Condition[];
  readonly tags: readonly TagCondition[];
  /** As it was written. */
  readonly description: Readonly<Record<string, unknown>>;
}

const bad = (name: string, problem: string): IsenError =>
  new IsenError('ParameterOutOfRange', `Route ${name}: ${problem}`);

const listOf = (value: string | readonly string[] | undefined): readonly string[] =>
  value === undefined ? [] : typeof value === 'string' ? [value] : value;

const shown = (wanted: readonly string[]): string => wanted.map((each) => JSON.stringify(each)).join(' or ');

/** Holds where the text is like one of `wanted`, whatever the case. */
function alike(what: string, wanted: readonly string[], of: (facts: Facts) => string | undefined): Condition {
  const patterns = wanted.map(normalise);
  return (facts) => {
    const value = normalise(of(facts) ?? '');
    if (patterns.some((pattern) => matchesWildcard(value, pattern))) return undefined;
    return `${what} is ${JSON.stringify(of(facts) ?? '')}, not ${shown(wanted)}`;
  };
}

/** Addresses as they are, or with the length of their prefix: `10.1.0.0/16`. */
function addressCondition(name: string, wanted: readonly string[]): Condition {
  const list = new BlockList();
  for (const each of wanted) {
    const [address = '', prefix] = each.split('/');
    const version = isIP(address);
    const longest = version === 4 ? 32 : 128;
    const length = prefix === undefined ? longest : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
    if (version === 0 || !(length <= longest)) throw bad(name, `RemoteIp: ${JSON.stringify(each)} is no address`);
    list.addSubnet(address, length, version === 4 ? 'ipv4' : 'ipv6');
  }
  return (facts) => {
    const address = facts.metadata('RemoteIP') ?? '';
    const version = isIP(address);
    if (version !== 0 && list.check(address, version === 4 ? 'ipv4' : 'ipv6')) return undefined;
    return `RemoteIp is ${JSON.stringify(address)}, not in ${shown(wanted)}`;
  };
}

const TIMES: ReadonlySet<string> = new Set(['DA', 'TM', 'DT']);
const NUMBERS: ReadonlySet<string> = new Set(['IS', 'DS', 'US', 'SS', 'UL', 'SL', 'UV', 'SV', 'FL', 'FD']);
const NUMBER_RANGE = /^\s*([+-]?[\d.]+(?:e[+-]?\d+)?)?\s*-\s*([+-]?[\d.]+(?:e[+-]?\d+)?)?\s*$/i;
const AGE = /^(\d{3})([DWMY])$/;
const AGE_RANGE = /^(\d{3}[DWMY])?-(\d{3}[DWMY])?$/;
const DAYS: Readonly<Record<string, number>> = { D: 1, W: 7, M: 365.25 / 12, Y: 365.25 };

type Matcher = (value: string) => boolean;

/** What is wrong with a wanted value. */
class Wrong extends Error {}

/** A stretch of time whose parts exist: there is no 31st of February, and no 25th hour. */
function timeOf(vr: string, text: string): Interval | undefined {
  const found = interval(vr, text);
  const digits = text.replaceAll(/[.:]/g, '');
  const [month, day] = vr === 'TM' ? [] : [Number(digits.slice(4, 6)), Number(digits.slice(6, 8))];
  const clock = vr === 'TM' ? digits : vr === 'DT' ? (text.split(/[+-]/, 1)[0] ?? '').slice(8) : '';
  const [hour, minute, second] = [0, 2, 4].map((at) => Number(clock.slice(at, at + 2)));
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) return undefined;
  if (month !== undefined && digits.length > 4 && (month < 1 || month > 12)) return undefined;
  const last = month === undefined ? 31 : new Date(Date.UTC(Number(digits.slice(0, 4)), month, 0)).getUTCDate();
  if (day !== undefined && digits.length > 6 && (day < 1 || day > last)) return undefined;
  return found;
}

/** Dates and times: a range, a pattern, or one of any precision. */
function timeMatcher(vr: string, pattern: string): Matcher {
  if (/[*?]/.test(pattern)) {
    if (/[^\d*?.:+-]/.test(pattern)) throw new Wrong(`a pattern of ${vr} has digits, * and ?`);
    return (value) => matchesWildcard(value, pattern);
  }
  const named = (text: string): Interval => {
    const found = timeOf(vr, text);
    if (found === undefined) throw new Wrong(`${text} is no value of ${vr}`);
    return found;
  };
  const range = rangeOf(vr, pattern);
  if (range === undefined) {
    const wanted = named(pattern);
    return (value) => {
      const found = interval(vr, value);
      return found !== undefined && found.first >= wanted.first && found.last <= wanted.last;
    };
  }
  const from = range.from === undefined ? undefined : named(range.from);
  const to = range.to === undefined ? undefined : named(range.to);
  if (from === undefined && to === undefined) throw new Wrong('the range has no bound');
  if (from !== undefined && to !== undefined && from.first > to.last)
    throw new Wrong('the range ends before it begins');
  // The end includes what begins with it: all of a day, or of a minute.
  return (value) => {
    const found = interval(vr, value);
    if (found === undefined) return false;
    return (from === undefined || found.last >= from.first) && (to === undefined || found.first <= to.last);
  };
}

/** Ages (AS): a range, a pattern, or one. */
function ageMatcher(pattern: string): Matcher {
  const days = (text: string): number => {
    const [, number, unit = ''] = AGE.exec(text) ?? [];
    return Number(number) * (DAYS[unit] ?? Number.NaN);
  };
  const range = AGE_RANGE.exec(pattern);
  if (range === null) {
    if (!/[*?]/.test(pattern) && !AGE.test(pattern)) throw new Wrong('an age is written as 018Y, 006M, 002W or 010D');
    return (value) => matchesWildcard(value, pattern);
  }
  const [from = 0, to = Number.POSITIVE_INFINITY] = range.slice(1).map((each) => (each ? days(each) : undefined));
  if (pattern === '-') throw new Wrong('the range has no bound');
  if (from > to) throw new Wrong('the range ends before it begins');
  return (value) => days(value) >= from && days(value) <= to;
}

/** Numbers: a range, a pattern, or one in any spelling. */
function numberMatcher(pattern: string): Matcher {
  const range = NUMBER_RANGE.exec(pattern);
  if (!Number.isNaN(Number(pattern))) return (value) => value !== '' && Number(value) === Number(pattern);
  if (range === null || (range[1] === undefined && range[2] === undefined)) {
    if (!/[*?]/.test(pattern)) throw new Wrong(`${JSON.stringify(pattern)} is no number`);
    return (value) => matchesWildcard(value, pattern);
  }
  const from = range[1] === undefined ? Number.NEGATIVE_INFINITY : Number(range[1]);
  const to = range[2] === undefined ? Number.POSITIVE_INFINITY : Number(range[2]);
  if (Number.isNaN(from) || Number.isNaN(to)) throw new Wrong(`${JSON.stringify(pattern)} is no range of numbers`);
  if (from > to) throw new Wrong('the range ends before it begins');
  return (value) => value !== '' && Number(value) >= from && Number(value) <= to;
}

/** What one wanted value of a tag matches: ranges for dates, times, ages and numbers, else text with wildcards. Throws {@link Wrong}. */
function matcher(vr: string, wanted: string): Matcher {
  const pattern = normalise(wanted);
  // Nothing is asked for but that it is empty.
  if (pattern !== '') {
    if (TIMES.has(vr)) return timeMatcher(vr, pattern);
    if (vr === 'AS') return ageMatcher(pattern);
    if (NUMBERS.has(vr)) return numberMatcher(pattern);
  }
  return (value) => matchesWildcard(value, pattern);
}

function tagCondition(name: string, key: string, wanted: readonly string[]): TagCondition {
  const tag = parseTag(key);
  if (tag === undefined) throw bad(name, `Tags: ${JSON.stringify(key)} is no tag`);
  const vr = lookup(tagNumber(tag))?.vr ?? 'UN';
  const matchers = wanted
    .flatMap((each) => each.split('\\'))
    .map((each) => {
      try {
        return matcher(vr, each);
      } catch (thrown) {
        if (thrown instanceof Wrong) throw bad(name, `Tags: ${key}: ${thrown.message}`);
        throw thrown;
      }
    });
  return {
    tag,
    holds(value) {
      const has = value.split('\\').map(normalise);
      if (matchers.some((matches) => has.some(matches))) return undefined;
      return `${tagName(tag)} is ${JSON.stringify(value)}, not ${shown(wanted)}`;
    },
  };
}

function eventsOf(name: string, wanted: readonly string[]): ReadonlySet<ChangeType> {
  const events = new Set<ChangeType>();
  for (const each of wanted) {
    const found = EVENTS.filter((event) => matchesWildcard(event, each));
    if (found.length === 0) throw bad(name, `Event: ${JSON.stringify(each)} is none of ${EVENTS.join(', ')}`);
    for (const event of found) events.add(event);
  }
  return events;
}

/**
 * Reads a rule. Throws ParameterOutOfRange that says what is wrong with it, BadFileFormat for a name that cannot stand in a URL.
 */
export function readRule(name: string, description: unknown): Rule {
  checkName(name);
  const parsed = RuleSchema.safeParse(description);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw bad(name, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'an object is expected'}`);
  }
  const { Name, When = {}, To, Priority = 0, Transcode, Enabled = true, Modify, Anonymize } = parsed.data;
  if (Name !== undefined && Name !== name) throw bad(name, `it is called ${JSON.stringify(Name)} inside`);
  if (Modify !== undefined && Anonymize !== undefined) throw bad(name, 'Modify and Anonymize: one of them');
  let modification: Asked | undefined;
  try {
    if (Modify !== undefined) modification = modificationOf('Modify', Modify);
    if (Anonymize !== undefined) modification = modificationOf('Anonymize', Anonymize);
  } catch (thrown) {
    const error = asIsenError(thrown);
    throw bad(name, `${Modify === undefined ? 'Anonymize' : 'Modify'}: ${error.details ?? error.message}`);
  }
  if (Transcode !== undefined && transferSyntax(Transcode) === undefined)
    throw bad(name, `Transcode: ${JSON.stringify(Transcode)} is no transfer syntax`);
  for (const level of listOf(When.Level)) {
    if (!LEVELS.some((each) => each === level)) throw bad(name, `Level: ${JSON.stringify(level)} is no level`);
  }
  const conditions: Condition[] = [];
  if (When.Level !== undefined) {
    const levels = listOf(When.Level);
    conditions.push(({ level }) => (levels.includes(level) ? undefined : `Level is "${level}", not ${shown(levels)}`));
  }
  for (const key of Object.keys(RECEPTION) as (keyof typeof RECEPTION)[]) {
    const wanted = listOf(When[key]);
    if (wanted.length > 0) conditions.push(alike(key, wanted, (facts) => facts.metadata(RECEPTION[key])));
  }
  if (When.RemoteIp !== undefined) conditions.push(addressCondition(name, listOf(When.RemoteIp)));
  const labels = listOf(When.Labels);
  if (labels.length > 0) {
    conditions.push((facts) =>
      [...facts.labels].some((label) => labels.some((wanted) => matchesWildcard(label, wanted)))
        ? undefined
        : `Labels are ${JSON.stringify([...facts.labels])}, not ${shown(labels)}`,
    );
  }
  const tags = Object.entries(When.Tags ?? {}).map(([key, wanted]) => tagCondition(name, key, listOf(wanted)));
  return {
    name,
    enabled: Enabled,
    to: [...new Set(listOf(To))],
    priority: Priority,
    transcode: Transcode,
    modification,
    events: eventsOf(name, When.Event === undefined ? ['NewInstance'] : listOf(When.Event)),
    needs: {
      labels: labels.length > 0,
      facts: conditions.length > (When.Level === undefined ? 0 : 1) || tags.length > 0,
    },
    conditions,
    tags,
    description: { ...parsed.data, Name: name },
  };
}

/**
 * Why a rule does not apply: nothing where it does. With `all` every reason, else the first one found; what needs a file to be read is
 * asked last.
 */
export async function reasonsAgainst(rule: Rule, facts: Facts, all = false): Promise<readonly string[]> {
  const reasons: string[] = [];
  if (!rule.events.has(facts.event)) reasons.push(`Event is "${facts.event}", not ${shown([...rule.events])}`);
  for (const condition of rule.conditions) {
    if (!all && reasons.length > 0) return reasons;
    const reason = condition(facts);
    if (reason !== undefined) reasons.push(reason);
  }
  const later: (() => Promise<string | undefined>)[] = [];
  for (const { tag, holds } of rule.tags) {
    if (!all && reasons.length > 0) return reasons;
    const metadata = METADATA_TAGS[tag];
    const value = metadata === undefined ? facts.tag(tag) : facts.metadata(metadata);
    if (typeof value === 'function') later.push(async () => holds((await value()) ?? ''));
    else {
      const reason = holds(value ?? '');
      if (reason !== undefined) reasons.push(reason);
    }
  }
  for (const ask of later) {
    if (!all && reasons.length > 0) return reasons;
    const reason = await ask();
    if (reason !== undefined) reasons.push(reason);
  }
  return reasons;
}
