/** Owns the page of one patient. */

import { Page } from '../parts/page.tsx';

/** The page; `id` is Orthanc's. */
export function Patient({ id }: { readonly id: string }) {
  return <Page title={id}>{null}</Page>;
}
