/** Owns the page "System". */

import { Page } from '../parts/page.tsx';
import { t } from '../texts.ts';

/** The page. */
export function System() {
  return <Page title={t.nav.system}>{null}</Page>;
}
