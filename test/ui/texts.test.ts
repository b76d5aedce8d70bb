/** Owns the rule that every text of the interface stands in ui/src/texts: a translator finds all of them there. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseSync } from 'vite';
import { ROOT } from '../peer.ts';

/** Attributes that people read or hear. */
const SPOKEN = new Set(['title', 'alt', 'placeholder', 'label', 'aria-label', 'aria-description', 'aria-valuetext']);
/** Names, which are the same in every language. */
const NAMES = new Set(['Isen', 'Authorization', 'ID', 'TLS']);

const hasWords = (text: string): boolean =>
  /\p{L}{2}/u.test(text) && !NAMES.has(text.trim()) && !/^\w+:\/\/\S+$/.test(text);

interface Node {
  readonly type: string;
  readonly value?: unknown;
  readonly name?: unknown;
}

/** The literal texts of a piece of source that would reach the screen. */
function literals(source: string): string[] {
  const found: string[] = [];
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    if (Array.isArray(node)) {
      node.forEach(visit);
      return;
    }
    const { type, value, name } = node as Node;
    if (type === 'JSXText' && typeof value === 'string' && hasWords(value)) found.push(value.trim());
    if (type === 'JSXAttribute' && SPOKEN.has(String((name as Node | undefined)?.name))) {
      const literal = (value as Node | null)?.value;
      if (typeof literal === 'string' && hasWords(literal)) found.push(literal);
    }
    Object.values(node).forEach(visit);
  };
  visit(parseSync('page.tsx', source).program);
  return found;
}

test('the rule sees texts and what is read aloud', () => {
  const page = '<p title="Hint" class="small">Hello {name} · <b>42</b> <i aria-label={t.x}>{t.y}</i></p>';
  assert.deepEqual(literals(page), ['Hint', 'Hello']);
});

test('no page has a text of its own', () => {
  const folder = join(ROOT, 'ui', 'src');
  const files = readdirSync(folder, { recursive: true }).map(String);
  for (const file of files.filter((name) => name.endsWith('.tsx')))
    assert.deepEqual(literals(readFileSync(join(folder, file), 'utf8')), [], `ui/src/${file}`);
});
