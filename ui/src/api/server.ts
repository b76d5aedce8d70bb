/** Owns what is asked about the server itself: what it is, what it holds, how it does, and what can be set. */

import { ApiError, get, getText, OURS, post, put, url } from '../api.ts';
import { API } from '../base.ts';

/** What the server says that it is; more than is named here. */
export interface System {
  readonly Name: string;
  readonly Isen: string;
  readonly Version: string;
  readonly ApiVersion: number;
  readonly DicomAet: string;
  readonly DicomPort: number;
  readonly HttpPort: number;
  readonly MaximumStorageSize: number;
  readonly MaximumStorageMode: string;
  readonly MaximumPatientCount: number;
  readonly Engines?: Readonly<Record<string, string>>;
  /** Numbers of the user's metadata by name. */
  readonly UserMetadata?: Readonly<Record<string, number>>;
  readonly [option: string]: unknown;
}

/** What the server is. */
export async function system(signal?: AbortSignal): Promise<System> {
  return get('system', { signal });
}

/** What the server holds; sizes in bytes. */
export interface Totals {
  readonly CountPatients: number;
  readonly CountStudies: number;
  readonly CountSeries: number;
  readonly CountInstances: number;
  readonly TotalDiskSize: string;
  readonly TotalUncompressedSize: string;
}

/** What the server holds. */
export async function totals(signal?: AbortSignal): Promise<Totals> {
  return get('statistics', { signal });
}

/** Whether the server and its engines answer. */
export interface Health {
  readonly Ready: boolean;
  readonly Engines: Readonly<Record<string, boolean>>;
  readonly Leaving?: true;
}

/** How the server does; the answer that something is missing is one as well. */
export async function health(signal?: AbortSignal): Promise<Health> {
  const response = await fetch(new URL('health/ready', API), { headers: OURS, ...(signal && { signal }) });
  if (response.status !== 200 && response.status !== 503) throw new ApiError(response.status);
  return (await response.json()) as Health;
}

/** The metrics, in the text format of Prometheus; empty while they are off. */
export async function metricsText(signal?: AbortSignal): Promise<string> {
  return getText('tools/metrics-prometheus', { signal });
}

/** Whether metrics are collected. */
export async function metricsOn(signal?: AbortSignal): Promise<boolean> {
  return (await getText('tools/metrics', { signal })).trim() === '1';
}

/** Starts or stops collecting metrics. */
export async function setMetrics(on: boolean): Promise<void> {
  await put('tools/metrics', on ? '1' : '0');
}

/** Parts of the log whose level can be set, as the API names them; `''` is the whole. */
export const LOGS = ['', 'generic', 'http', 'dicom', 'jobs', 'sqlite', 'lua', 'plugins'] as const;
export const LOG_LEVELS = ['default', 'verbose', 'trace'] as const;

const logPath = (log: string): string => (log === '' ? 'tools/log-level' : `tools/log-level-${log}`);

/** The level of a log. */
export async function logLevel(log: string, signal?: AbortSignal): Promise<string> {
  return (await getText(logPath(log), { signal })).trim();
}

/** Sets the level of a log. */
export async function setLogLevel(log: string, level: string): Promise<void> {
  await put(logPath(log), level);
}

/** What is built in and in use, with what it is. */
export interface Plugin {
  readonly ID: string;
  readonly Description?: string;
  readonly Version?: string;
}

/** What is built in and in use under the names of the reference's plugins. */
export async function plugins(signal?: AbortSignal): Promise<readonly Plugin[]> {
  const names = await get<readonly string[]>('plugins', { signal });
  const real = names.filter((name) => !name.endsWith('.js'));
  return Promise.all(real.map((name) => get<Plugin>(url('plugins', name), { signal })));
}

/** Lists of UIDs that the DICOM server accepts. */
export async function accepted(
  what: 'transfer-syntaxes' | 'sop-classes',
  signal?: AbortSignal,
): Promise<readonly string[]> {
  return get(`tools/accepted-${what}`, { signal });
}

/** Restarts the server, or ends it. */
export async function end(how: 'reset' | 'shutdown'): Promise<void> {
  await post(`tools/${how}`, '');
}
