/** Owns the links to other viewers, which the server's configuration names. */

import { get } from '../api.ts';

/** One of the option `Viewers`. */
export interface ExternalViewer {
  readonly Name: string;
  /** An address with `{StudyInstanceUID}`, `{SeriesInstanceUID}`, `{id}`, `{series}` in it. */
  readonly Url: string;
}

/** The viewers that the configuration names. Throws ApiError. */
export const listViewers = async (signal: AbortSignal): Promise<readonly ExternalViewer[]> =>
  get<ExternalViewer[]>('ui/viewers', { signal });

interface Shown {
  /** Orthanc's ids. */
  readonly study: string;
  readonly series: string;
  readonly info: { readonly texts: { readonly StudyInstanceUID: string; readonly SeriesInstanceUID: string } };
}

/** The address of what is shown in another viewer: identifiers are all that it may carry, no data of the patient. */
export function linkTo({ Url }: ExternalViewer, { study, series, info }: Shown): string {
  const values: Readonly<Record<string, string>> = {
    StudyInstanceUID: info.texts.StudyInstanceUID,
    SeriesInstanceUID: info.texts.SeriesInstanceUID,
    id: study,
    series,
  };
  return Url.replaceAll(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return value === undefined ? whole : encodeURIComponent(value);
  });
}
