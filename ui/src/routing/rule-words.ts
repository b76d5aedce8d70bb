/** Owns how the conditions of a rule are put into words, and lists into lines of text and back. */

import { listed, type When } from '../api/routes.ts';
import { t } from '../texts.ts';

const words = t.rules;

/** Values as they are typed: with commas between, `""` for the empty one. */
export function lineOf(values: readonly string[]): string {
  return values.map((value) => (value === '' ? '""' : value)).join(', ');
}

/** What was typed as values; undefined where nothing was. */
export function valuesOf(line: string): readonly string[] | undefined {
  const values = line
    .split(',')
    .map((value) => value.trim())
    .filter((value) => value !== '')
    .map((value) => (value === '""' ? '' : value));
  return values.length === 0 ? undefined : values;
}

const any = (values: readonly string[]): string =>
  values.map((value) => (value === '' ? words.nobody : value)).join(words.or);

/** One condition in words. */
export interface Phrase {
  readonly what: string;
  readonly value: string;
}

/** The conditions in words; none where the rule takes every new image. */
export function phrasesOf(when: When | undefined): readonly Phrase[] {
  const phrases: Phrase[] = [];
  for (const key of Object.keys(words.conditions) as (keyof typeof words.conditions)[]) {
    const values = listed(when?.[key]);
    if (values.length === 0) continue;
    const shown = key === 'Event' ? values.map((each) => t.changes.words[each] ?? each) : values;
    phrases.push({ what: words.conditions[key], value: any(shown) });
  }
  for (const [tag, value] of Object.entries(when?.Tags ?? {})) {
    phrases.push({ what: `${tag}${words.is}`, value: any(listed(value).flatMap((each) => each.split('\\'))) });
  }
  return phrases;
}
