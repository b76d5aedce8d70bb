/** Owns the page of one series. */

import { Page } from '../parts/page.tsx';

/** The page; `id` is Orthanc's. */
export function Series({ id }: { readonly id: string }) {
  return <Page title={id}>{null}</Page>;
}
