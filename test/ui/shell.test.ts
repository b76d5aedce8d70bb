/** Owns the proof of the interface's frame: how it is reached, the menu, signing in and out, light and dark, the keyboard. */

import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { becomes, checkAccessibility, eventually, explorer, listen } from './browser.ts';

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
    await becomes(() => page.url(), `${app.served.url}/ui/app/`, path);
  }
  // An address that is none is a page that there is not, and no blank one.
  await page.goto(`${app.served.url}/ui/app/%zz`);
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  await checkAccessibility(page);
});

app.test(
  'whoever is signed in stays so, and signs out',
  async (page) => {
    await app.open(page);
    await signIn(page, 'anna', 'wrong');
    await page.getByRole('alert').filter({ hasText: 'password is wrong' }).waitFor();
    await signIn(page, 'anna', 'secret');
    await page.getByRole('heading', { name: 'Studies', level: 1 }).waitFor();
    await checkAccessibility(page);
    await page.reload();
    await page.getByRole('heading', { name: 'Studies', level: 1 }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    await page.reload();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
  },
  { expected: [/401/] },
);

app.test('the policy lets nothing in from elsewhere and nothing inline', async () => {
  for (const path of ['', 'jobs', 'view/x']) {
    const { headers } = await fetch(`${app.served.url}/ui/app/${path}`);
    const policy = headers.get('content-security-policy') ?? '';
    assert.match(policy, /^default-src 'none'; script-src 'self'( 'wasm-unsafe-eval')?; style-src 'self';/);
    assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval(?!')|https?:|\*/);
    assert.equal(policy.includes('wasm-unsafe-eval'), path.startsWith('view/'), path);
    assert.equal(headers.get('referrer-policy'), 'same-origin');
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
  }
});

app.test('colours are the system’s until somebody chooses, which is remembered', async (page) => {
  await app.open(page);
  await signIn(page, 'anna', 'secret');
  const lightness = async (): Promise<number> => {
    const colour = String(await page.evaluate('getComputedStyle(document.body.parentElement).backgroundColor'));
    return Number(/\d+/.exec(colour)?.[0]);
  };
  const light = () => eventually(async () => assert.ok((await lightness()) > 200));
  const dark = () => eventually(async () => assert.ok((await lightness()) < 50));
  await page.getByRole('heading', { name: 'Studies', level: 1 }).waitFor();
  await light();
  await page.emulateMedia({ colorScheme: 'dark' });
  await dark();
  await page.getByRole('radio', { name: 'Light' }).check({ force: true });
  await light();
  await page.getByRole('radio', { name: 'Dark' }).check({ force: true });
  await page.emulateMedia({ colorScheme: 'light' });
  await page.reload();
  await page.getByRole('heading', { name: 'Studies', level: 1 }).waitFor();
  await dark();
});

app.test('the menu is used with the keyboard alone, and the content is one key away', async (page) => {
  await app.open(page);
  await signIn(page, 'anna', 'secret');
  await page.getByRole('link', { name: 'Jobs' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Jobs', level: 1 }).waitFor();
  await becomes(() => page.getByRole('link', { name: 'Jobs' }).getAttribute('aria-current'), 'page');
  await becomes(() => page.url(), `${app.served.url}/ui/app/jobs`);
  await page.goBack();
  await page.getByRole('heading', { name: 'Studies', level: 1 }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Studies', level: 1 }).waitFor();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await becomes(() => page.evaluate('document.activeElement.id'), 'content');
});

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
    for (const complaint of [/script-src/, /img-src/, /nothing-here/]) await becomes(() => heard.join('\n'), complaint);
    assert.equal(await page.evaluate('window.ran'), undefined);
  },
  { expected: [/Content Security Policy/, /nothing-here/, /example\.invalid/] },
);
