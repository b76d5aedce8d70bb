/** Owns the page of one study. */

import { Page } from '../parts/page.tsx';

/** The page; `id` is Orthanc's. */
export function Study({ id }: { readonly id: string }) {
  return <Page title={id}>{null}</Page>;
}
