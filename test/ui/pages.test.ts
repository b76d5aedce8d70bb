/**
 * Owns what holds on every page: no serious fault of accessibility, light and dark; nothing wider than a tablet or than a window at 200 %;
 * the keyboard reaches everything and is caught by nothing; who may only read meets no error.
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { ROOT } from '../peer.ts';
import { checkAccessibility, eventually, explorer, type Stored } from './browser.ts';
import { phantomSeries } from './phantom.ts';

let stored: Stored;

const app = explorer(
  {
    AuthenticationEnabled: true,
    RegisteredUsers: { anna: 'secret', rita: 'reads' },
    ReadOnlyUsers: ['rita'],
    DicomModalities: { archive: ['ARCHIVE', '127.0.0.1', 1] },
  },
  async ({ served }) => {
    for (const body of phantomSeries({ slices: 2 })) {
      const Authorization = `Basic ${btoa('anna:secret')}`;
      const answer = await fetch(`${served.url}/instances`, {
        method: 'POST',
        headers: { Authorization },
        body: new Uint8Array(body),
      });
      stored = (await answer.json()) as Stored;
    }
  },
);

/** Every page, by the first word of its address. */
const pages = (): Readonly<Record<string, string>> => ({
  '': '',
  patients: `patients/${stored.ParentPatient}`,
  studies: `studies/${stored.ParentStudy}`,
  series: `series/${stored.ParentSeries}`,
  instances: `instances/${stored.ID}`,
  upload: 'upload',
  routing: 'routing',
  modalities: 'modalities',
  query: 'query',
  rules: 'rules',
  exports: 'exports',
  peers: 'peers',
  webhooks: 'webhooks',
  jobs: 'jobs',
  changes: 'changes',
  system: 'system',
  view: `view/${stored.ParentStudy}`,
  nowhere: 'nowhere',
});

async function signIn(page: Page, user: string, password: string): Promise<void> {
  await page.goto(`${app.served.url}/ui/app/`);
  await page.getByLabel('Name').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Studies', level: 1 }).waitFor();
}

/** Opens a page and waits until nothing is on its way. */
async function visit(page: Page, path: string): Promise<void> {
  await app.open(page, path);
  await page.waitForLoadState('networkidle');
  await eventually(async () => assert.equal(await page.locator('.loading, .busy').count(), 0));
}

/** Asserts that the page becomes no wider than its window. */
async function checkWidth(page: Page): Promise<void> {
  const sizes = '[document.documentElement.scrollWidth, innerWidth]';
  const width = page.viewportSize()?.width;
  await eventually(async () => {
    const [wide, inner] = (await page.evaluate(sizes)) as [number, number];
    assert.equal(inner, width);
    assert.ok(wide <= inner, `${page.url()} is ${wide} wide in a window of ${inner}`);
  });
}

app.test('no page is left out', async () => {
  const source = readFileSync(join(ROOT, 'ui', 'src', 'pages.tsx'), 'utf8');
  const places = [...source.matchAll(/case '([^']*)':/g)].map((match) => match[1] ?? '');
  assert.ok(places.length > 10);
  for (const place of places) assert.ok(place in pages(), `this suite does not know "${place}"`);
});

app.test('every page is accessible, light and dark, and fits a tablet and 200 %', async (page) => {
  await signIn(page, 'anna', 'secret');
  for (const path of Object.values(pages())) {
    await visit(page, path);
    await checkAccessibility(page);
    await page.evaluate("document.documentElement.dataset.theme = 'dark'");
    await checkAccessibility(page, '', ['color-contrast']);
    await page.evaluate("document.documentElement.dataset.theme = 'light'");
    // A window of 1280 × 800 pixels at 200 % has 640 × 400.
    for (const [width, height] of [
      [820, 1180],
      [640, 400],
    ] as const) {
      await page.setViewportSize({ width, height });
      await checkWidth(page);
    }
    await page.setViewportSize({ width: 1280, height: 800 });
  }
});

app.test('who may only read can open every page, and is shown nothing that would fail', async (page) => {
  await signIn(page, 'rita', 'reads');
  for (const path of Object.values(pages())) {
    await visit(page, path);
    for (const name of [/^Delete/, /^Modify/, /^Anonymi[sz]e/, /^Send/, /^Upload/])
      assert.equal(await page.getByRole('button', { name }).count(), 0, `${String(name)} at ${path}`);
  }
  assert.equal(await page.getByRole('link', { name: 'Upload' }).count(), 0);
});

app.test('the keyboard goes through every page and out again', async (page) => {
  await signIn(page, 'anna', 'secret');
  for (const path of Object.values(pages())) {
    await visit(page, path);
    await page.evaluate('document.activeElement?.blur(); document.body.focus()');
    const first = await tab(page);
    assert.match(first, /Skip/, `${path}: the content is one key away`);
    const seen = new Set([first]);
    let last = first;
    for (let count = 0; count < 200; count += 1) {
      const now = await tab(page);
      // After the last there is the browser itself, whose place the page's body takes.
      if (now === 'BODY' || now === first) break;
      assert.ok(now !== last, `${path}: the keyboard is caught by ${now}`);
      seen.add(now);
      last = now;
    }
    assert.ok(seen.size > 5, `${path}: ${[...seen].join(' | ')}`);
  }
});

/** Presses Tab; answers what has the focus, as something to tell it from others by. */
async function tab(page: Page): Promise<string> {
  await page.keyboard.press('Tab');
  return String(
    await page.evaluate(
      `(() => {
        const at = document.activeElement;
        if (at === null || at === document.body) return 'BODY';
        const place = [...document.querySelectorAll('*')].indexOf(at);
        return at.tagName + ' ' + (at.getAttribute('aria-label') ?? at.textContent).trim().slice(0, 40) + ' #' + place;
      })()`,
    ),
  );
}
