/** Owns the page "Changes". */

import { Page } from '../parts/page.tsx';
import { t } from '../texts.ts';

/** The page. */
export function Changes() {
  return <Page title={t.nav.changes}>{null}</Page>;
}
