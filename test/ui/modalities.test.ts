/** Owns the proof of the interface's pages of destinations: modalities, peers and webhooks, against real ones. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import type { Page } from 'playwright-core';
import { startReference, type Reference } from '../debian-reference.ts';
import { make } from '../dicom/made.ts';
import { type BadServer, startBadServer } from '../http/bad-server.ts';
import { type Served, serve } from '../http/served.ts';
import { freePort, temporaryFolder, without } from '../peer.ts';
import { startProgram, stopPrograms } from '../scp/programs.ts';
import { becomes, checkAccessibility, eventually, explorer } from './browser.ts';

const withoutPeers = without('chromium') || without('storescp') || without('Orthanc');

const app = explorer();
const ports = { good: 0, refusing: 0, dead: 0 };
let judge: Reference;
let guarded: Served;
let hook: BadServer;

if (withoutPeers === false) {
  before(async () => {
    [ports.good, ports.refusing, ports.dead] = await Promise.all([freePort(), freePort(), freePort()]);
    [judge, guarded, hook] = await Promise.all([
      startReference(),
      serve({ AuthenticationEnabled: true, RegisteredUsers: { anna: 'secret' } }),
      startBadServer((response) => void response.end('thanks')),
      startProgram('storescp', ['-aet', 'GOOD', '-od', temporaryFolder(), String(ports.good)], ports.good),
      startProgram('storescp', ['--refuse', String(ports.refusing)], ports.refusing),
    ]);
  });
  after(async () => {
    judge.close();
    await Promise.all([guarded.close(), hook.close(), stopPrograms()]);
  });
}

async function ask<T>(path: string, init?: RequestInit): Promise<T> {
  const answer = await fetch(app.served.url + path, init);
  assert.equal(answer.status, 200, path);
  const text = await answer.text();
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

const put = (path: string, body: unknown): Promise<unknown> => ask(path, { method: 'PUT', body: JSON.stringify(body) });

/** Opens what is folded away in the dialog. */
const unfold = (page: Page, title: string): Promise<void> =>
  page.getByRole('dialog').locator('summary', { hasText: title }).click();

app.test(
  'a modality is added, tested before it is saved, echoed, changed and forgotten',
  async (page) => {
    await app.open(page, 'modalities');
    await page.getByText('No modality yet').waitFor();
    await page.getByRole('button', { name: 'Add a modality' }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('store');
    await dialog.getByLabel('AE title', { exact: true }).fill('GOOD');
    await dialog.getByLabel('Host').fill('127.0.0.1');
    await dialog.getByLabel('Port', { exact: true }).fill(String(ports.dead));
    await dialog.getByRole('button', { name: 'Test' }).click();
    await dialog.getByText('Nothing listens at that address and port').waitFor();
    await dialog.getByLabel('Port', { exact: true }).fill(String(ports.good));
    await dialog.getByRole('button', { name: 'Test' }).click();
    await dialog.getByText('It answers').waitFor();
    await unfold(page, 'Queue and retries');
    await unfold(page, 'More settings');
    await checkAccessibility(page);
    await dialog.getByLabel('Hours').fill('22:00-06:00, 12:00-13:00');
    await dialog.getByLabel('Associations at a time').fill('3');
    await dialog.getByLabel('C-MOVE (retrieve)').uncheck();
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('cell', { name: 'store', exact: true }).waitFor();
    const set = await ask<Record<string, unknown>>('/modalities/store/configuration');
    assert.deepEqual(
      [set['AET'], set['Port'], set['Schedule'], set['MaximumAssociations'], set['AllowMove'], set['AllowFind']],
      ['GOOD', ports.good, ['22:00-06:00', '12:00-13:00'], 3, false, true],
    );
    await page.getByRole('button', { name: 'Echo store' }).click();
    await page.getByRole('row', { name: 'store' }).getByText('It answers').waitFor();

    await page.getByRole('button', { name: 'Edit store' }).click();
    await dialog.getByLabel('Associations at a time').fill('');
    await dialog.getByLabel('Port', { exact: true }).fill('11112');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByText('127.0.0.1:11112').waitFor();
    assert.equal(
      (await ask<Record<string, unknown>>('/modalities/store/configuration'))['MaximumAssociations'],
      undefined,
    );

    await page.getByRole('button', { name: 'Delete store' }).click();
    await dialog.getByText('Nothing waits for it').waitFor();
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    assert.deepEqual(await ask('/modalities'), ['store']);
    await page.getByRole('button', { name: 'Delete store' }).click();
    await dialog.getByRole('button', { name: 'Forget it' }).click();
    await page.getByText('No modality yet').waitFor();
    assert.deepEqual(await ask('/modalities'), []);
  },
  { expected: [/500 .*dicom-echo/, /status of 500 .*dicom-echo/] },
);

app.test(
  'an echo that fails says why',
  async (page) => {
    await put('/modalities/dead', ['DEAD', '127.0.0.1', ports.dead]);
    await put('/modalities/refusing', ['REFUSING', '127.0.0.1', ports.refusing]);
    await app.open(page, 'modalities');
    await page.getByRole('button', { name: 'Echo dead' }).click();
    await page.getByRole('alert').filter({ hasText: 'dead' }).getByText('Nothing listens').waitFor();
    await page.getByRole('button', { name: 'Echo refusing' }).click();
    const refusal = page.getByRole('alert').filter({ hasText: 'refusing' });
    await refusal.getByText('It refused the association').waitFor();
    await becomes(() => refusal.innerText(), /result 1, source 1, reason 1/);
    await checkAccessibility(page);
    await refusal.getByRole('button', { name: 'Dismiss' }).click();
    await refusal.waitFor({ state: 'detached' });
  },
  { expected: [/500 .*\/echo/, /status of 500 .*\/echo/] },
);

app.test(
  'a peer says what it is, and keeps its password while it stays the same server',
  async (page) => {
    await app.open(page, 'peers');
    const dialog = page.getByRole('dialog');
    await page.getByRole('button', { name: 'Add a peer' }).first().click();
    await dialog.getByLabel('Name').fill('judge');
    await dialog.getByLabel('URL').fill(judge.url);
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('button', { name: 'Test judge' }).click();
    await page.getByText('It answers: judge, Orthanc 1.').waitFor();

    await page.getByRole('button', { name: 'Add a peer' }).click();
    await dialog.getByLabel('Name').fill('guarded');
    await dialog.getByLabel('URL').fill(guarded.url);
    await dialog.getByLabel('User').fill('anna');
    await dialog.getByLabel('Password').fill('wrong');
    await unfold(page, 'More settings');
    await dialog.getByRole('button', { name: 'Add a header' }).click();
    await dialog.getByLabel('Header', { exact: true }).fill('X-Site');
    await dialog.getByLabel('Value: X-Site').fill('north');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('button', { name: 'Test guarded' }).click();
    await page.getByRole('alert').getByText('It refused the name, password or headers (HTTP 401)').waitFor();

    await page.getByRole('button', { name: 'Edit guarded' }).click();
    await dialog.getByLabel('Password').fill('secret');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('button', { name: 'Test guarded' }).click();
    await page.getByText('It answers: ').nth(1).waitFor();

    await page.getByRole('button', { name: 'Edit guarded' }).click();
    await becomes(() => dialog.getByLabel('Password').getAttribute('placeholder'), 'unchanged');
    await becomes(() => dialog.getByLabel('Value: X-Site').getAttribute('placeholder'), 'unchanged');
    await dialog.getByLabel('Patience').fill('20');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.waitFor({ state: 'detached' });
    const { Timeout, HttpHeaders } = await ask<Record<string, unknown>>('/peers/guarded/configuration');
    assert.deepEqual([Timeout, HttpHeaders], [20, ['X-Site']]);
    await page.reload();
    await page.getByRole('button', { name: 'Test guarded' }).click();
    await page.getByText('It answers: ').waitFor();

    await page.getByRole('button', { name: 'Edit guarded' }).click();
    await dialog.getByLabel('URL').fill(judge.url);
    await dialog.getByText('type the password again').waitFor();
    await dialog.getByRole('button', { name: 'Cancel' }).click();
  },
  { expected: [/500 .*\/peers\/guarded\/system/, /status of 500 .*\/system/] },
);

app.test('a webhook is told of what it wants', async (page) => {
  await app.open(page, 'webhooks');
  const dialog = page.getByRole('dialog');
  await page.getByRole('button', { name: 'Add a webhook' }).first().click();
  await dialog.getByLabel('Name').fill('ris');
  await dialog.getByLabel('URL').fill(`${hook.url}events`);
  await dialog.getByLabel('Secret').fill('shared');
  await dialog.getByLabel('New study').check();
  await checkAccessibility(page);
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('button', { name: 'Test ris' }).click();
  await page.getByText('It answered 200').waitFor();
  assert.match(hook.asked.at(-1)?.body.toString() ?? '', /"Test":true/);

  await page.getByRole('button', { name: 'Edit ris' }).click();
  await dialog.getByLabel('Deleted').check();
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByText('New study, Deleted').waitFor();
  await page.getByText('signed').waitFor();
  await app.upload([make()]);
  const ofStudy = () => hook.asked.filter(({ body }) => /"NewStudy"/.test(body.toString()));
  await eventually(async () => assert.ok(ofStudy().length > 0));
  const told = ofStudy();
  assert.equal(told.length, 1);
  assert.ok(
    Object.keys(told[0]?.headers ?? {}).some((name) => /signature/i.test(name)),
    'still signed',
  );

  await page.getByRole('button', { name: 'Delete ris' }).click();
  await dialog.getByRole('button', { name: 'Forget it' }).click();
  await page.getByText('No webhook yet').waitFor();
});
