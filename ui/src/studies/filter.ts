/** Owns what the list of studies is narrowed to, ordered by and shows, kept in this tab (never in the address: it names patients). */

import { computed, effect, signal } from '@preact/signals';
import type { Order, Search } from '../api/resources.ts';

/** What the list can be narrowed to; `''` and `[]` are no limit. */
export interface Filter {
  readonly name: string;
  readonly id: string;
  readonly description: string;
  readonly accession: string;
  /** One of {@link PERIODS}, or `range` for the days below. */
  readonly period: string;
  /** Days, `2024-01-31`. */
  readonly from: string;
  readonly to: string;
  readonly modalities: readonly string[];
  readonly labels: readonly string[];
}

/** Days back that can be chosen at once. */
export const PERIODS = { today: 0, yesterday: 1, week: 7, month: 30, quarter: 91, year: 365 } as const;
export type Period = keyof typeof PERIODS;

const NOTHING: Filter = {
  name: '',
  id: '',
  description: '',
  accession: '',
  period: '',
  from: '',
  to: '',
  modalities: [],
  labels: [],
};

/** The columns that can be shown, in their order. */
export const COLUMNS = [
  'preview',
  'name',
  'id',
  'birth',
  'sex',
  'date',
  'modalities',
  'description',
  'accession',
  'referring',
  'institution',
  'series',
  'instances',
  'labels',
  'received',
] as const;
export type ColumnName = (typeof COLUMNS)[number];

const INITIAL: readonly ColumnName[] = [
  'preview',
  'name',
  'id',
  'date',
  'modalities',
  'description',
  'accession',
  'series',
  'instances',
  'labels',
];

/** What orders by each column that orders. */
export const ORDERS: Readonly<Partial<Record<ColumnName, Pick<Order, 'Type' | 'Key'>>>> = {
  name: { Type: 'DicomTag', Key: 'PatientName' },
  id: { Type: 'DicomTag', Key: 'PatientID' },
  birth: { Type: 'DicomTag', Key: 'PatientBirthDate' },
  date: { Type: 'DicomTag', Key: 'StudyDate' },
  description: { Type: 'DicomTag', Key: 'StudyDescription' },
  accession: { Type: 'DicomTag', Key: 'AccessionNumber' },
  received: { Type: 'Metadata', Key: 'LastUpdate' },
};

/** What rows are ordered by. */
export interface Ordering {
  readonly column: ColumnName;
  readonly descending: boolean;
}

/** A value that a store of the browser keeps; what it holds may be from another version, or a person's doing. */
function kept<T>(store: Storage, key: string, initial: T, isRight: (value: unknown) => value is T) {
  let first = initial;
  try {
    const value: unknown = JSON.parse(store.getItem(key) ?? 'null');
    if (isRight(value)) first = value;
  } catch {
    store.removeItem(key);
  }
  const state = signal(first);
  effect(() => store.setItem(key, JSON.stringify(state.value)));
  return state;
}

const isFilter = (value: unknown): value is Filter =>
  typeof value === 'object' &&
  value !== null &&
  Object.entries(NOTHING).every(([key, empty]) => {
    const given = (value as Record<string, unknown>)[key];
    return Array.isArray(empty) ? Array.isArray(given) : typeof given === 'string';
  });

const isColumns = (value: unknown): value is readonly ColumnName[] =>
  Array.isArray(value) && value.length > 0 && value.every((each) => COLUMNS.includes(each as ColumnName));

const isOrdering = (value: unknown): value is Ordering =>
  typeof value === 'object' && value !== null && 'column' in value && ORDERS[value.column as ColumnName] !== undefined;

/** What the list is narrowed to, in this tab. */
export const filter = kept<Filter>(sessionStorage, 'isen.filter', NOTHING, isFilter);
/** Which columns are shown, on this device. */
export const columns = kept<readonly ColumnName[]>(localStorage, 'isen.columns', INITIAL, isColumns);
/** What rows are ordered by, on this device. */
export const ordering = kept<Ordering>(
  localStorage,
  'isen.ordering',
  { column: 'received', descending: true },
  isOrdering,
);

/** Whether the list is narrowed at all. */
export const isNarrowed = computed(() => JSON.stringify(filter.value) !== JSON.stringify(NOTHING));

/** Shows everything again. */
export function clearFilter(): void {
  filter.value = NOTHING;
}

/** Narrows the list further, or differently. */
export function narrow(change: Partial<Filter>): void {
  filter.value = { ...filter.value, ...change };
}

const day = (at: Date): string =>
  `${at.getFullYear()}${String(at.getMonth() + 1).padStart(2, '0')}${String(at.getDate()).padStart(2, '0')}`;

/** The days of a filter as a range of DA (PS3.4 §C.2.2.2.5), or `''`. */
export function daysOf({ period, from, to }: Pick<Filter, 'period' | 'from' | 'to'>, now: Date): string {
  if (period === 'range') {
    const range = `${from.replaceAll('-', '')}-${to.replaceAll('-', '')}`;
    return range === '-' ? '' : range;
  }
  if (!Object.hasOwn(PERIODS, period)) return '';
  const back = new Date(now);
  back.setDate(back.getDate() - PERIODS[period as Period]);
  if (period === 'yesterday') return `${day(back)}-${day(back)}`;
  return `${day(back)}-`;
}

/** Words anywhere in a value, in their order: `doe john` finds `Doe^John`. Wildcards that were typed stay. */
export const anywhere = (words: string): string => {
  const joined = words
    .trim()
    .split(/[\s,^]+/)
    .filter((word) => word !== '')
    .join('*');
  return joined === '' ? '' : `*${joined}*`;
};

/** The search that finds what a filter leaves. */
export function searchOf(given: Filter, now = new Date()): Search {
  const wanted = {
    PatientName: anywhere(given.name),
    PatientID: anywhere(given.id),
    StudyDescription: anywhere(given.description),
    AccessionNumber: anywhere(given.accession),
    StudyDate: daysOf(given, now),
    ModalitiesInStudy: given.modalities.join('\\'),
  };
  return {
    Level: 'Study',
    Query: Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== '')),
    ...(given.labels.length > 0 && { Labels: given.labels, LabelsConstraint: 'All' as const }),
  };
}

/** The order in force, as the API takes it; equal ones stay in one order. */
export function orderOf({ column, descending }: Ordering): readonly Order[] {
  const by = ORDERS[column];
  return by === undefined ? [] : [{ ...by, Direction: descending ? 'DESC' : 'ASC' }];
}
