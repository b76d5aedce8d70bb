/** Owns the page of one instance. */

import { Page } from '../parts/page.tsx';

/** The page; `id` is Orthanc's. */
export function Instance({ id }: { readonly id: string }) {
  return <Page title={id}>{null}</Page>;
}
