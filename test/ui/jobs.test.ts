/** Owns the proof of the interface's page of jobs: real ones, while they run, wait, fail and after. */

import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { after, before } from 'node:test';
import type { Page } from 'playwright-core';
import { make } from '../dicom/made.ts';
import { freePort, without } from '../peer.ts';
import { type Receiver, receive } from '../scu/receiver.ts';
import { becomes, checkAccessibility, explorer } from './browser.ts';

const dead = await freePort();
const app = explorer({
  JobsHistorySize: 500,
  DicomModalities: { away: { AET: 'AWAY', Host: '127.0.0.1', Port: dead, MaximumRetries: 0 } },
});
let receiver: Receiver;

if (without('chromium') === false) {
  before(async () => {
    receiver = await receive();
  });
  after(() => receiver.close());
}

async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await fetch(app.served.url + path, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  assert.equal(answer.status, 200, `${method} ${path}: ${text}`);
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

const send = async (to: string, id: string): Promise<string> =>
  (await ask<{ ID: string }>('POST', `/modalities/${to}/store`, { Resources: [id], Asynchronous: true })).ID;

/** The chip of a state with its count. */
const chip = (page: Page, name: string) => page.getByRole('group', { name: 'States' }).getByRole('button', { name });

app.test('jobs are paused, resumed, cancelled and run again, and say why they failed', async (page) => {
  await ask('PUT', '/modalities/here', { AET: 'HERE', Host: '127.0.0.1', Port: receiver.port });
  const { ID, ParentStudy } = await app.upload([make({ sopUid: '1.2.5.1', patientName: 'Doe^Jane' })]);
  await app.open(page, 'jobs');
  await page.getByText('There are no jobs').waitFor();
  await ask('POST', '/modalities/here/queue/pause');
  await send('here', ParentStudy);
  const row = page.getByRole('row', { name: 'Send to a modality' });
  await row.getByText(/Waiting|Running/).waitFor();
  await row.getByRole('button', { name: /^Pause/ }).click();
  await row.getByText('Paused').waitFor();
  await row.getByRole('button', { name: /^Resume/ }).click();
  await row.getByText(/Waiting|Running/).waitFor();
  await row.getByRole('button', { name: /^Cancel/ }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Cancel the job' }).click();
  await row.getByText('Failed').waitFor();
  await ask('POST', '/modalities/here/queue/resume');
  await row.getByRole('button', { name: /^Run again/ }).click();
  await row.getByText('Done').waitFor();
  await row.getByText('1 of 1 instance').waitFor();
  assert.equal(receiver.received.length, 1);

  await send('away', ID);
  const failed = page.getByRole('row', { name: 'AWAY' });
  await failed.getByText('Failed').waitFor();
  await failed.getByText('Nothing listens at that address and port').waitFor();
  await failed.getByRole('button', { name: 'Send to a modality', exact: true }).click();
  await page.getByRole('heading', { name: 'It failed' }).waitFor();
  await page.getByText('TCP Initialization Error: Connection refused').waitFor();
  await page.getByText('All that it says').click();
  await page.getByText('"RemoteAet": "AWAY"').waitFor();
  await checkAccessibility(page);
  const at = page.url();
  await page.goto(at);
  await page.getByRole('heading', { name: 'It failed' }).waitFor();
});

app.test('what a job made is downloaded, what it was about is linked', async (page) => {
  const { ParentStudy } = await app.upload([make({ sopUid: '1.2.5.1', patientName: 'Doe^Jane' })]);
  await ask('POST', '/tools/create-archive', { Resources: [ParentStudy], Asynchronous: true });
  await ask('POST', `/studies/${ParentStudy}/anonymize`, { Asynchronous: true });
  await app.open(page, 'jobs');
  const archive = page.getByRole('row', { name: 'ZIP archive' });
  await archive.getByText('Done').waitFor();
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    archive.getByRole('link', { name: 'Download' }).click(),
  ]);
  assert.ok(statSync(await download.path()).size > 100);
  const anonymised = page.getByRole('row', { name: 'Anonymise' });
  await anonymised.getByText('Done').waitFor();
  await anonymised.getByRole('button', { name: 'Anonymise', exact: true }).click();
  await page.getByRole('link', { name: 'Study · Doe, Jane' }).waitFor();
  await page
    .locator('dd')
    .getByRole('link', { name: /^[0-9a-f-]{44}$/ })
    .click();
  await page.waitForURL(/\/ui\/app\/(studies|patients)\/[0-9a-f-]{44}$/);
});

app.test('hundreds of jobs are narrowed by state and type, appear as they come, and are forgotten', async (page) => {
  const { ID } = await app.upload([make({ sopUid: '1.2.5.1' })]);
  for (let sent = 0; sent < 120; sent += 20) await Promise.all(Array.from({ length: 20 }, () => send('here', ID)));
  await app.open(page, 'jobs');
  await page.getByRole('button', { name: /^Show \d+ more$/ }).waitFor();
  await becomes(() => page.locator('tbody tr').count(), 100);
  await page.getByRole('button', { name: /^Show \d+ more$/ }).click();
  await page.getByRole('button', { name: /^Show \d+ more$/ }).waitFor({ state: 'detached' });
  await chip(page, 'Failed').click();
  await page.getByRole('row', { name: 'AWAY' }).waitFor();
  await becomes(() => page.locator('tbody tr').count(), 1);
  await send('away', ID);
  await chip(page, 'Failed 2').waitFor();
  await chip(page, 'All').click();
  await page.locator('main select').selectOption('ZIP archive');
  await chip(page, 'All 1').waitFor();
  await chip(page, 'Failed').click();
  await page.getByText('No job is like that').waitFor();
  await page.getByRole('button', { name: 'Show all' }).click();
  await chip(page, 'Done').click();
  await page.getByRole('button', { name: 'Forget the ended ones' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('heading', { name: /^Forget \d+ ended jobs\?$/ }).waitFor();
  await dialog.getByRole('button', { name: 'Forget it' }).click();
  await page.getByText('No job is like that').waitFor();
  await becomes(
    async () => (await ask<{ State: string }[]>('GET', '/jobs?expand')).map(({ State }) => State),
    ['Failure', 'Failure'],
  );
});
