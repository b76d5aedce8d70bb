/**
 * Owns attribute matching (PS3.4 §C.2.2.2): what the value of each key asks for, as data, and whether the values of a data set meet it.
 */

import { IsenError } from '../errors.ts';
import { lookup, tagName, tagNumber } from './dictionary.ts';
import type { Identifier, Key } from './identifier.ts';
import { isVr, type Vr, vrRow } from './vr.ts';

/** Values by tag (`gggg,eeee`), as the JSON form `Short` of a data set has them: text, null for bytes, items of a sequence. */
export interface Values {
  readonly [tag: string]: string | null | readonly Values[] | undefined;
}

/** Microseconds: of the epoch for dates, of the day for times. Both ends belong to it. */
export interface Interval {
  readonly first: number;
  readonly last: number;
}

/** What one key asks for. */
export type Condition = { readonly tag: string; readonly vr: string } & (
  | { readonly match: 'equal'; readonly value: string }
  | { readonly match: 'list'; readonly values: readonly string[] }
  | { readonly match: 'wildcard'; readonly value: string }
  /** Of DA, TM or DT; inclusive, an absent bound is open. */
  | { readonly match: 'range'; readonly from?: string; readonly to?: string }
  /** A date and a time that together lie in one range (PS3.4 §C.2.2.2.5.3); `tag` is the date's. */
  | { readonly match: 'combined'; readonly time: string; readonly first: number; readonly last: number }
  | { readonly match: 'sequence'; readonly conditions: readonly Condition[] }
);

export interface MatchOptions {
  /** Whether person names are compared as they are (`CaseSensitivePN`); otherwise case and accents are left aside. */
  readonly caseSensitivePN: boolean;
  /** Whether ranges of a date and of its time are one range, as worklists have it (PS3.4 §K.6.1.2.2). */
  readonly combined: boolean;
}

/** The VRs whose keys may hold wildcards (PS3.4 §C.2.2.2.4). */
const WILDCARDS: ReadonlySet<string> = new Set<Vr>(['AE', 'CS', 'LO', 'LT', 'PN', 'SH', 'ST', 'UC', 'UN', 'UR', 'UT']);

/** Whether a key of the VR may hold wildcards. */
export const takesWildcards = (vr: string): boolean => WILDCARDS.has(vr);

/** The VRs whose keys may be ranges (PS3.4 §C.2.2.2.5). */
const RANGES: ReadonlySet<string> = new Set<Vr>(['DA', 'TM', 'DT']);

/** Whether a key of the VR may be a range. */
export const takesRanges = (vr: string): boolean => RANGES.has(vr);

/** Values that one key may list: each is compared with each candidate. */
export const MAXIMUM_VALUES = 10_000;

/** Dates with the time of the same event. */
const TIME_OF_DATE: Readonly<Record<string, string>> = {
  '0008,0012': '0008,0013',
  '0008,0020': '0008,0030',
  '0008,0021': '0008,0031',
  '0008,0022': '0008,0032',
  '0008,0023': '0008,0033',
  '0010,0030': '0010,0032',
  '0040,0002': '0040,0003',
  '0040,0004': '0040,0005',
  '0040,0244': '0040,0245',
  '0040,0250': '0040,0251',
  '0040,2004': '0040,2005',
};

/** Not keys of matching: they say how an identifier is to be read. */
const CONTROL: ReadonlySet<string> = new Set(['0008,0005', '0008,0052', '0008,0053', '0008,0201']);

/** Upper case, accents folded, padding stripped: the form in which searches that ignore case compare. */
export function normalise(value: string): string {
  // oxlint-disable-next-line no-control-regex
  const plain = /^[\x20-\x7e]*$/.test(value) ? value : value.normalize('NFD').replace(/\p{M}/gu, '');
  return plain.trim().toUpperCase();
}

/**
 * Whether `value` matches `pattern` (`*` any run, `?` one character). Takes at most length × length steps, whatever the
 * pattern: one that was built to backtrack cannot stall the server.
 */
export function matchesWildcard(value: string, pattern: string): boolean {
  let at = 0;
  let in_ = 0;
  let star = -1;
  let resume = 0;
  while (at < value.length) {
    const symbol = pattern[in_];
    if (symbol === '*') {
      star = in_++;
      resume = at;
    } else if (symbol === '?' || (symbol !== undefined && symbol === value[at])) {
      at++;
      in_++;
    } else if (star >= 0) {
      in_ = star + 1;
      at = ++resume;
    } else {
      return false;
    }
  }
  while (pattern[in_] === '*') in_++;
  return in_ === pattern.length;
}

const SECOND = 1e6;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** UTC offset of a DT (PS3.5 §6.2): nothing else between -1200 and +1400 can follow a hyphen. */
const OFFSET = '[+-](?:0\\d|1[0-4])[0-5]\\d';
const DATE = /^(\d{4})(\d{2})?(\d{2})?$/;
const TIME = /^(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?$/;
const DATE_TIME = new RegExp(
  `^(\\d{4}(?:\\d{2})?(?:\\d{2})?)(\\d{2}(?:\\d{2})?(?:\\d{2}(?:\\.\\d{1,6})?)?)?(${OFFSET})?$`,
);
const BOUND = `\\d{4,14}(?:\\.\\d{1,6})?(?:${OFFSET})?`;
const DATE_TIME_RANGE = new RegExp(`^(${BOUND})?-(${BOUND})?$`);

function dateInterval(text: string): Interval | undefined {
  const [, year, month, day] = DATE.exec(text.replaceAll('.', '')) ?? [];
  if (year === undefined) return undefined;
  const at = (y: number, m: number, d: number): number => Date.UTC(y, m, d) * 1000;
  const [y, m, d] = [Number(year), month === undefined ? 0 : Number(month) - 1, day === undefined ? 1 : Number(day)];
  const next = day !== undefined ? at(y, m, d + 1) : month !== undefined ? at(y, m + 1, 1) : at(y + 1, 0, 1);
  return { first: at(y, m, d), last: next - 1 };
}

function timeInterval(text: string): Interval | undefined {
  const [, hour, minute, second, fraction] = TIME.exec(text.replaceAll(':', '')) ?? [];
  if (hour === undefined) return undefined;
  const first =
    Number(hour) * HOUR +
    Number(minute ?? 0) * MINUTE +
    Number(second ?? 0) * SECOND +
    Number((fraction ?? '').padEnd(6, '0'));
  const width =
    fraction !== undefined
      ? 10 ** (6 - fraction.length)
      : second !== undefined
        ? SECOND
        : minute !== undefined
          ? MINUTE
          : HOUR;
  return { first, last: first + width - 1 };
}

function dateTimeInterval(text: string): Interval | undefined {
  const [, date, time, offset] = DATE_TIME.exec(text) ?? [];
  if (date === undefined) return undefined;
  const day = dateInterval(date);
  if (day === undefined) return undefined;
  const ahead =
    offset === undefined
      ? 0
      : Number(`${offset[0] ?? ''}1`) * (Number(offset.slice(1, 3)) * HOUR + Number(offset.slice(3)) * MINUTE);
  const part = time === undefined ? { first: 0, last: day.last - day.first } : timeInterval(time);
  return part && { first: day.first + part.first - ahead, last: day.first + part.last - ahead };
}

/** The stretch of time that a value of DA, TM or DT means, by its precision; undefined for one that is none. */
export function interval(vr: string, text: string): Interval | undefined {
  const plain = text.trim();
  if (vr === 'DA') return dateInterval(plain);
  return vr === 'TM' ? timeInterval(plain) : dateTimeInterval(plain);
}

/** The bounds of a range of DA, TM or DT, or undefined for a value that is no range. */
export function rangeOf(vr: string, value: string): { readonly from?: string; readonly to?: string } | undefined {
  const plain = value.trim();
  const [, from, to] = (vr === 'DT' ? DATE_TIME_RANGE : /^([^-]*)-([^-]*)$/).exec(plain) ?? [];
  if (vr === 'DT' && dateTimeInterval(plain) !== undefined) return undefined;
  const bounds = [from?.trim() ?? '', to?.trim() ?? ''];
  if (from === undefined && to === undefined) return undefined;
  if (bounds.some((bound) => bound !== '' && interval(vr, bound) === undefined)) return undefined;
  return { ...(bounds[0] && { from: bounds[0] }), ...(bounds[1] && { to: bounds[1] }) };
}

/** The VR that a key is matched by: the dictionary's, unless it does not know the tag. */
export function vrOfKey({ tag, vr }: Pick<Key, 'tag' | 'vr'>): string {
  return lookup(tagNumber(tag))?.vr ?? (isVr(vr) ? vr : 'UN');
}

/** What a key asks for; undefined when anything will do (universal matching, PS3.4 §C.2.2.2.3). */
function conditionOf(key: Key, options: MatchOptions): Condition | undefined {
  const { tag, value } = key;
  const vr = vrOfKey(key);
  if (typeof value !== 'string') {
    const conditions = conditionsOf(value[0] ?? [], options);
    return conditions.length === 0 ? undefined : { tag, vr: 'SQ', match: 'sequence', conditions };
  }
  if (/^\**$/.test(value.trim())) return undefined;
  if (RANGES.has(vr) && value.includes('-')) {
    const range = rangeOf(vr, value);
    if (range !== undefined) {
      return range.from === undefined && range.to === undefined ? undefined : { tag, vr, match: 'range', ...range };
    }
  }
  if (/[*?]/.test(value) && !WILDCARDS.has(vr)) {
    throw new IsenError('ParameterOutOfRange', `Wildcards are not allowed on ${tagName(tag)} (${tag})`);
  }
  const values = vrRow(vr).multiple ? value.split('\\') : [value];
  if (values.length > MAXIMUM_VALUES)
    throw new IsenError('ParameterOutOfRange', `More than ${MAXIMUM_VALUES} values of ${tagName(tag)}`);
  if (values.length > 1) return { tag, vr, match: 'list', values };
  return { tag, vr, match: /[*?]/.test(value) ? 'wildcard' : 'equal', value };
}

/**
 * What the keys of an identifier ask for. Query/Retrieve Level, Specific Character Set and Timezone Offset ask for nothing. Throws
 * ParameterOutOfRange for wildcards in a VR that has none.
 */
export function conditionsOf(identifier: Identifier, options: MatchOptions): readonly Condition[] {
  const conditions = identifier
    .filter(({ tag }) => !CONTROL.has(tag))
    .flatMap((key) => conditionOf(key, options) ?? []);
  return options.combined ? combine(conditions) : conditions;
}

/** Ranges of a date and of its time as one. */
function combine(conditions: readonly Condition[]): readonly Condition[] {
  const times = new Set<string>();
  const joined = conditions.map((date): Condition => {
    const time = conditions.find(({ tag }) => tag === TIME_OF_DATE[date.tag]);
    if (date.match !== 'range' || time?.match !== 'range') return date;
    times.add(time.tag);
    const bound = (day: string | undefined, hour: string | undefined, end: 'first' | 'last'): number => {
      const open = end === 'first' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
      const on = day === undefined ? undefined : dateInterval(day);
      if (on === undefined) return open;
      const within = hour === undefined ? undefined : timeInterval(hour);
      return within === undefined ? on[end] : on.first + within[end];
    };
    const { tag, vr } = date;
    const first = bound(date.from, time.from, 'first');
    return { tag, vr, match: 'combined', time: time.tag, first, last: bound(date.to, time.to, 'last') };
  });
  return joined.filter(({ tag }) => !times.has(tag));
}

/** The value of a tag in a form to compare: several values one by one. */
function valuesOf(value: string, vr: string): readonly string[] {
  return vrRow(vr).multiple && value.includes('\\') ? [...value.split('\\'), value] : [value];
}

function meetsEqual(value: string, wanted: string, vr: string, sensitive: boolean): boolean {
  if (!sensitive) return normalise(value) === normalise(wanted);
  const [plain, other] = [value.trim(), wanted.trim()];
  if (plain === other) return true;
  if (RANGES.has(vr)) {
    const first = interval(vr, plain)?.first;
    return first !== undefined && first === interval(vr, other)?.first;
  }
  const numeric = vr === 'IS' || vr === 'DS' || vrRow(vr).kind === 'integer' || vrRow(vr).kind === 'float';
  return numeric && plain !== '' && other !== '' && Number(plain) === Number(other);
}

/** Whether one value meets a condition on a single value. */
function meets(value: string, condition: Exclude<Condition, { match: 'sequence' | 'combined' }>, pn: boolean): boolean {
  const { vr } = condition;
  const sensitive = vr !== 'PN' || pn;
  switch (condition.match) {
    case 'equal':
      return meetsEqual(value, condition.value, vr, sensitive);
    case 'list':
      return condition.values.some((wanted) => meetsEqual(value, wanted, vr, sensitive));
    case 'wildcard':
      return sensitive
        ? matchesWildcard(value.trim(), condition.value.trim())
        : matchesWildcard(normalise(value), normalise(condition.value));
    case 'range': {
      const time = interval(vr, value);
      const from = condition.from === undefined ? undefined : interval(vr, condition.from);
      const to = condition.to === undefined ? undefined : interval(vr, condition.to);
      if (time === undefined) return false;
      return (from === undefined || time.last >= from.first) && (to === undefined || time.first <= to.last);
    }
  }
}

/** Whether values meet one condition. A value that is absent or empty meets none (PS3.4 §C.2.2.2). */
export function matches(values: Values, condition: Condition, caseSensitivePN: boolean): boolean {
  const value = values[condition.tag];
  if (value === undefined || value === null) return false;
  switch (condition.match) {
    case 'sequence':
      return (
        typeof value !== 'string' &&
        value.some((item) => condition.conditions.every((each) => matches(item, each, caseSensitivePN)))
      );
    case 'combined': {
      const time = values[condition.time];
      if (typeof value !== 'string') return false;
      const day = dateInterval(value.trim());
      const part = typeof time === 'string' ? timeInterval(time.trim()) : undefined;
      if (day === undefined) return false;
      const first = part === undefined ? day.first : day.first + part.first;
      const last = part === undefined ? day.last : day.first + part.last;
      return last >= condition.first && first <= condition.last;
    }
    case 'equal':
    case 'list':
    case 'range':
    case 'wildcard':
      return (
        typeof value === 'string' &&
        value !== '' &&
        valuesOf(value, condition.vr).some((each) => meets(each, condition, caseSensitivePN))
      );
  }
}

/** Every element of values that have no keys of their own, as the dictionary knows them. */
function everything(values: Values): Identifier {
  return Object.entries(values)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([tag, value]) => ({
      tag,
      vr: lookup(tagNumber(tag))?.vr ?? 'UN',
      value: typeof value === 'string' ? value : (value ?? []).map(everything),
    }))
    .filter(({ vr, value }) => (vr === 'SQ') === (typeof value !== 'string'));
}

/**
 * The answer to keys: each with its value, empty where there is none (PS3.4 §C.4.1.1.3.2). Of a sequence the attributes that were asked
 * for, or all where none was.
 */
export function answerOf(keys: Identifier, values: Values): Identifier {
  return keys
    .filter(({ tag }) => tag !== '0008,0005')
    .map((key) => {
      const { tag } = key;
      const vr = vrOfKey(key);
      const value = values[tag];
      if (vr !== 'SQ') return { tag, vr, value: typeof value === 'string' ? value : '' };
      const wanted = typeof key.value === 'string' ? [] : (key.value[0] ?? []);
      const items = typeof value === 'string' ? [] : (value ?? []);
      return { tag, vr, value: items.map((item) => (wanted.length === 0 ? everything(item) : answerOf(wanted, item))) };
    });
}
