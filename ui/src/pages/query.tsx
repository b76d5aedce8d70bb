/** Owns the page "Query". */

import { Page } from '../parts/page.tsx';
import { t } from '../texts.ts';

/** The page. */
export function Query() {
  return <Page title={t.nav.query}>{null}</Page>;
}
