/**
 * Owns the proof of the interface's pages of the server and of changes, and that whoever may only look finds no button that fails on the
 * pages of administration.
 */

import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { make } from '../dicom/made.ts';
import { freePort } from '../peer.ts';
import { becomes, checkAccessibility, explorer } from './browser.ts';

const dicom = await freePort();
const app = explorer({
  Name: 'North wing',
  AuthenticationEnabled: true,
  RegisteredUsers: { anna: 'secret', rita: 'reads' },
  ReadOnlyUsers: ['rita'],
  MaximumStorageSize: 2048,
  DicomServerEnabled: true,
  DicomPort: dicom,
  DicomModalities: { self: ['ISEN', '127.0.0.1', dicom] },
  OrthancPeers: {},
  Routes: [{ Name: 'mr', When: { Tags: { Modality: 'MR' } }, To: 'self' }],
  Webhooks: { ris: { Url: 'http://127.0.0.1:9/', Events: ['ModifiedSeries'] } },
});

const anna = { Authorization: `Basic ${Buffer.from('anna:secret').toString('base64')}` };

async function ask(path: string, init: RequestInit = {}): Promise<string> {
  const answer = await fetch(app.served.url + path, { ...init, headers: anna });
  const text = await answer.text();
  assert.equal(answer.status, 200, `${path}: ${text}`);
  return text;
}

const upload = async (file: Buffer): Promise<{ ID: string; ParentStudy: string }> =>
  JSON.parse(await ask('/instances', { method: 'POST', body: new Uint8Array(file) })) as {
    ID: string;
    ParentStudy: string;
  };

async function signIn(page: Page, user: string, password: string, path: string): Promise<void> {
  await page.goto(`${app.served.url}/ui/app/${path}`);
  await page.getByLabel('Name').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('navigation', { name: 'Pages' }).waitFor();
}

app.test('the server says what it is, holds and does', async (page) => {
  await signIn(page, 'anna', 'secret', 'system');
  const region = (name: string) => page.getByRole('region', { name, exact: true });
  await region('Server').getByText('North wing').waitFor();
  await region('Server').getByText(String(dicom)).waitFor();
  await region('Storage').getByText('2.0 GB, then the oldest patients go').waitFor();
  await region('Health').getByText('Queues').waitFor();
  await becomes(() => region('Health').getByText('answers', { exact: true }).count(), 4);
  for (let number = 1; number <= 30; number += 1) await upload(make({ sopUid: `1.2.6.${number}` }));
  await region('Storage').getByText('30', { exact: true }).waitFor();
  const received = region('Throughput').getByRole('img', { name: /^Instances received/ });
  await received.locator('polyline').waitFor({ state: 'attached' });
  await becomes(() => received.getAttribute('aria-label'), /at most [1-9][\d.]*\/s$/);
  await checkAccessibility(page);

  await page.locator('select[name=log-http]').selectOption('verbose');
  await page.getByText('The log level is set').waitFor();
  assert.equal(await ask('/tools/log-level-http'), 'verbose');
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await page.getByText('The log level is set').waitFor({ state: 'detached' });
  await page.locator('select[name="log-"]').selectOption('default');
  await page.getByText('The log level is set').waitFor();
  assert.equal(await ask('/tools/log-level-http'), 'default');
  await page.getByLabel('Collect metrics').uncheck();
  await page.getByText('Metrics are off').waitFor();
  assert.equal(await ask('/tools/metrics'), '0');
  await page.getByLabel('Collect metrics').check();
  await received.waitFor();
  await page.getByText(/^\d+ transfer syntaxes$/).click();
  await page.getByText('1.2.840.10008.1.2.1').waitFor();
  await page.getByRole('button', { name: 'Shut down' }).click();
  await page.getByRole('dialog').getByText('It has to be started again by hand').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
});

app.test('changes appear as they happen, are narrowed, and wait while they are paused', async (page) => {
  await signIn(page, 'anna', 'secret', 'changes');
  await page.getByText('Live', { exact: true }).waitFor();
  const { ID } = await upload(make({ sopUid: '1.2.7.1', studyUid: '1.2.7', seriesUid: '1.2.7.0', patientId: 'P7' }));
  await page.getByRole('row', { name: 'New instance' }).getByRole('link', { name: ID }).waitFor();
  await page.getByRole('row', { name: 'New study' }).first().waitFor();
  await checkAccessibility(page);
  await page.getByRole('button', { name: 'Every type' }).click();
  await page.getByLabel('Deleted').check();
  await page.keyboard.press('Escape');
  await page.getByText('Nothing like that has happened').waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  await ask(`/instances/${ID}`, { method: 'DELETE' });
  await page.getByText(/^Paused, [1-9]\d* changes? meanwhile$/).waitFor();
  assert.equal(await page.getByText(ID).count(), 0);
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByText(ID).waitFor();
  await page.getByRole('button', { name: 'Every level' }).click();
  await page.getByLabel('Patient').check();
  await page.getByText(ID).waitFor({ state: 'detached' });
});

/** Pages on which much can be done, and something on each that is there for everybody. */
const PAGES = [
  ['modalities', 'self'],
  ['peers', 'No peer yet'],
  ['webhooks', 'ris'],
  ['routing', 'Idle'],
  ['rules', 'mr'],
  ['exports', 'Nothing is in this log'],
  ['query', 'Search'],
  ['jobs', 'States'],
  ['changes', 'Live'],
  ['system', 'North wing'],
] as const;

app.test('whoever may only look finds no button that fails', async (page) => {
  await signIn(page, 'rita', 'reads', 'modalities');
  for (const [path, there] of PAGES) {
    await page.goto(`${app.served.url}/ui/app/${path}`);
    await page.getByText(there).or(page.getByLabel(there)).first().waitFor();
    await becomes(
      async () =>
        (await page.locator('main button').allInnerTexts()).filter((name) =>
          /^(add|delete|purge|retry|pause|resume|forget|empty|restart|shut|save)\b/i.test(name),
        ),
      path === 'changes' ? ['Pause'] : path === 'query' ? ['Add a tag'] : [],
      path,
    );
    // The page fails the test where anything is answered with an error.
    await page.evaluate("for (const button of document.querySelectorAll('main button:enabled')) button.click()");
    await page.waitForLoadState('networkidle', { timeout: 2000 }).catch(() => {});
  }
});
