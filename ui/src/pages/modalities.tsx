/** Owns the page "Modalities". */

import { Page } from '../parts/page.tsx';
import { t } from '../texts.ts';

/** The page. */
export function Modalities() {
  return <Page title={t.nav.modalities}>{null}</Page>;
}
