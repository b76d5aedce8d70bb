/** Owns the proof of src of the interface's frame: how it is reached, the menu, signing in and out, light and dark, the keyboard. */

import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { checkAccessibility, explorer, listen } from './browser.ts';

const USERS = {
  AuthenticationEnabled: true,
  RegisteredUsers: { anna: 'secret', rita: 'reads' },
  ReadOnlyUsers: ['rita'],
};

const app = explorer(USERS);

async function signIn(page: Page, user: string, password: string): Promise<void> {
  await page.getByLabel('Name').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

app.test('the root and the old address lead to the interface, which asks who one is', async (page) => {
  for (const path of ['/', '/app/explorer.html', '/ui', '/ui/app']) {
    await page.goto(app.served.url + path);
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    assert.equal(page.url(), `${app.served.url}/ui/app/`, path);
  }
  await checkAccessibility(page);
});

app.test(
  'whoever is signed in stays so, and signs out',
  async (page) => {
    await app.open(page);
    await signIn(page, 'anna', 'wrong');
    await page.getByRole('alert').filter({ hasText: 'password is wrong' }).waitFor();
    await signIn(page, 'anna', 'secret');
    await page.getByRole('heading', { name: 'Studies' }).waitFor();
    await checkAccessibility(page);
    await page.reload();
    await page.getByRole('heading', { name: 'Studies' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    await page.reload();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
  },
  { expected: [/401/] },
);

app.test(
  'what a page complains about is heard',
  async (page) => {
    const heard = listen(page);
    await app.open(page);
    const before = heard.length;
    assert.equal(before, 0);
    await page.evaluate(
      "document.body.append(Object.assign(document.createElement('script'), { text: 'window.ran = 1' }))",
    );
    await page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.invalid/x.png\">')");
    await page.evaluate("fetch('/nothing-here')");
    await page.waitForTimeout(200);
    assert.equal(await page.evaluate('window.ran'), undefined);
    assert.match(heard.join('\n'), /script-src/);
    assert.match(heard.join('\n'), /img-src/);
    assert.match(heard.join('\n'), /nothing-here/);
  },
  { expected: [/Content Security Policy/, /nothing-here/, /example\.invalid/] },
);
