/** Owns the list of studies. */

import { Page } from '../parts/page.tsx';
import { t } from '../texts.ts';

/** The page. */
export function Studies() {
  return <Page title={t.nav.studies}>{null}</Page>;
}
