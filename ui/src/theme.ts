/** Owns light and dark: as the system has it, or as the person chose, which is remembered. */

import { effect, signal } from '@preact/signals';

/** What may be chosen. */
export const THEMES = ['automatic', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

const KEY = 'isen.theme';

/** What is chosen. */
export const theme = signal<Theme>(THEMES.find((each) => each === localStorage.getItem(KEY)) ?? 'automatic');

/** Puts the choice into force, now and whenever it changes. */
export function startTheme(): void {
  effect(() => {
    document.documentElement.dataset['theme'] = theme.value;
    localStorage.setItem(KEY, theme.value);
  });
}
