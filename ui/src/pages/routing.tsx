/** Owns the page "Routing". */

import { Page } from '../parts/page.tsx';
import { t } from '../texts.ts';

/** The page. */
export function Routing() {
  return <Page title={t.nav.routing}>{null}</Page>;
}
