/** Owns the page "Upload". */

import { Page } from '../parts/page.tsx';
import { t } from '../texts.ts';

/** The page. */
export function Upload() {
  return <Page title={t.nav.upload}>{null}</Page>;
}
