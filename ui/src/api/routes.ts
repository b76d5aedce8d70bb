/** Owns what is asked about routing rules and the log of what was sent. */

import { get, post, put, remove, url } from '../api.ts';

/** One value, or any of several. */
type Several = string | readonly string[];

/** The conditions of a rule: all that are given must hold. */
export interface When {
  readonly Event?: Several;
  readonly Level?: Several;
  readonly CallingAet?: Several;
  readonly CalledAet?: Several;
  readonly RemoteIp?: Several;
  readonly HttpUser?: Several;
  readonly Tags?: Readonly<Record<string, Several>>;
  readonly Labels?: Several;
}

/** How the copies that a rule sends are changed; what has no name here is kept as it is. */
export interface Change {
  readonly Level?: string;
  readonly Replace?: Readonly<Record<string, unknown>>;
  readonly Remove?: readonly string[];
  readonly Keep?: readonly string[];
  readonly [option: string]: unknown;
}

/** A routing rule as the API shows it and takes it. */
export interface Rule {
  readonly Name: string;
  readonly When?: When;
  readonly To: Several;
  readonly Priority?: number;
  readonly Transcode?: string;
  readonly Modify?: Change;
  readonly Anonymize?: Change;
  readonly Enabled?: boolean;
  /** One of the configuration file. */
  readonly Configured?: true;
}

/** Several as a list. */
export const listed = (value: Several | undefined): readonly string[] =>
  value === undefined ? [] : typeof value === 'string' ? [value] : value;

/** Every rule. */
export async function rules(signal?: AbortSignal): Promise<readonly Rule[]> {
  return get('routes', { signal, query: { expand: true } });
}

/** A rule as the API takes it. */
function taken(rule: Rule): Omit<Rule, 'Configured'> {
  const { Configured: _, ...rest } = rule;
  return rest;
}

/** Adds or changes one. */
export async function setRule(rule: Rule): Promise<void> {
  await put(url('routes', rule.Name), taken(rule));
}

/** Removes one. */
export async function removeRule(name: string): Promise<void> {
  await remove(url('routes', name));
}

/** What a rule would do with an instance. */
export interface Verdict {
  readonly Matches: boolean;
  readonly Reasons: readonly string[];
  readonly To: readonly string[];
}

/** Asks a rule, stored or not, about an instance. */
export async function tryRule(rule: Rule, instance: string, signal?: AbortSignal): Promise<Verdict> {
  return post(url('routes', rule.Name, 'test'), { ID: instance, Route: taken(rule) }, { signal });
}

/** One row of the log of what was sent. */
export interface Export {
  readonly Seq: number;
  readonly Date: string;
  readonly ID: string;
  readonly Path: string;
  readonly PatientID?: string;
  readonly RemoteModality: string;
  readonly ResourceType: string;
  readonly StudyInstanceUID?: string;
  readonly SOPInstanceUID?: string;
}

interface ExportPage {
  readonly Exports: readonly Export[];
  readonly Last: number;
  readonly Done: boolean;
}

/** The number of the last row, 0 where there is none. */
export async function lastExport(signal?: AbortSignal): Promise<number> {
  return (await get<ExportPage>('exports', { signal, query: { last: true } })).Exports[0]?.Seq ?? 0;
}

/** The rows after a number, the oldest first. */
export async function exportsAfter(since: number, limit: number, signal?: AbortSignal): Promise<readonly Export[]> {
  return (await get<ExportPage>('exports', { signal, query: { since, limit } })).Exports;
}

/** Empties the log. */
export async function clearExports(): Promise<void> {
  await remove('exports');
}
