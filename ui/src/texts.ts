/** Owns which language the texts are in; another one is another file like texts/en.ts. */

import { en } from './texts/en.ts';

/** What a file of texts holds. */
export type Texts = typeof en;

/** The texts of the interface. */
export const t: Texts = en;
