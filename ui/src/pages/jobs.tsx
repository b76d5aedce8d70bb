/** Owns the page of jobs. */

import { Page } from '../parts/page.tsx';
import { t } from '../texts.ts';

/** The page; `id` unfolds one job. */
export function Jobs({ id }: { readonly id: string | undefined }) {
  return <Page title={t.nav.jobs}>{id}</Page>;
}
